import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from conddiffusion_uad.evaluation.metrics.score_counts import auroc, count, dice, shared_thresholds, total

SCORES = np.array([3.0, 2.0, 2.0, 1.0, 0.0, -1.5], np.float32)
TRUTH = np.array([1, 0, 1, 0, 1, 0], bool)


def random_scores(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both signs as they are stored, and lesions that score higher."""
    rng = np.random.default_rng(seed)
    truth = rng.random(20_000) < 0.03
    scores = rng.normal(0, 2, truth.shape) + 2 * truth
    return scores.astype(np.float16).astype(np.float32), truth


def test_every_voxel_is_in_the_bin_of_its_score() -> None:
    counts = count(SCORES, TRUTH)
    assert counts.scores.tolist() == [-1.5, 0, 1, 2, 3]
    assert counts.healthy.tolist() == [1, 0, 1, 1, 0]
    assert counts.lesion.tolist() == [0, 1, 0, 1, 1]


def test_a_score_is_rounded_to_the_nearest_half_precision_number() -> None:
    scores = np.random.default_rng(0).normal(0, 30, 1000)
    counts = count(scores, np.zeros(1000, bool))
    expected = np.unique(scores.astype(np.float16), return_counts=True)
    assert np.array_equal(counts.scores, expected[0])
    assert np.array_equal(counts.healthy, expected[1])


def test_minus_zero_is_zero() -> None:
    counts = count(np.array([-0.0, 0.0]), np.zeros(2, bool))
    assert counts.healthy.max() == 2


def test_figures_by_hand() -> None:
    # From 3 on 1 of 1 flagged is lesion, from 2 on 2 of 3, from 1 on 2 of 4, from 0 on 3 of 5, then 3 of 6.
    counts = count(SCORES, TRUTH)
    assert counts.average_precision() == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert counts.auroc() == pytest.approx((3 + 2.5 + 1) / 9)
    assert counts.prevalence() == 0.5
    recall, precision = counts.precision_recall()
    assert recall == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert precision == pytest.approx([1, 2 / 3, 1 / 2, 3 / 5, 1 / 2])
    assert counts.dice_at(2.0) == pytest.approx(2 * 2 / (3 + 3))
    assert counts.dice_at(2.5) == pytest.approx(2 * 1 / (1 + 3))
    assert counts.dice_at(9.0) == 0
    assert counts.best_dice() == pytest.approx((2 * 3 / (5 + 3), 0.0))


def test_figures_agree_with_scikit_learn() -> None:
    scores, truth = random_scores()
    counts = count(scores, truth)
    assert counts.average_precision() == pytest.approx(average_precision_score(truth, scores))
    assert counts.auroc() == pytest.approx(roc_auc_score(truth, scores))
    precision, recall, _ = precision_recall_curve(truth, scores)
    assert counts.precision_recall()[0] == pytest.approx(recall[-2::-1])
    assert counts.precision_recall()[1] == pytest.approx(precision[-2::-1])


@pytest.mark.parametrize("levels", [5, 1000])
def test_equal_scores_share_a_threshold_as_in_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.05
    scores = np.floor(levels * (rng.random(5000) + 0.5 * truth))
    assert count(scores, truth).average_precision() == pytest.approx(average_precision_score(truth, scores))
    assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_dice_agrees_with_that_of_the_map_itself() -> None:
    scores, truth = random_scores()
    counts = count(scores, truth)
    best, threshold = counts.best_dice()
    assert best == pytest.approx(max(dice(scores >= level, truth) for level in np.unique(scores)))
    assert best == pytest.approx(counts.dice_at(threshold)) == pytest.approx(dice(scores >= threshold, truth))
    assert counts.dice_at(1.23) == pytest.approx(dice(scores >= 1.23, truth))


def test_dice_of_known_sets() -> None:
    flagged, truth = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert dice(flagged, truth) == 0.5
    assert dice(flagged & False, truth & False) is None


def test_the_best_threshold_is_the_highest_of_equals() -> None:
    counts = count(np.array([3.0, 2.0, 1.0, 1.0, 1.0, 1.0]), np.array([1, 0, 1, 0, 0, 0], bool))
    assert counts.dice() == pytest.approx([4 / 8, 2 / 4, 2 / 3])
    counts = count(np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([1, 1, 0, 0, 0], bool))
    assert counts.dice()[1:] == pytest.approx([4 / 6, 2 / 3])
    assert counts.best_dice() == (pytest.approx(2 / 3), 3.0)


def test_half_precision_hardly_changes_the_figures() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.03
    scores = np.abs(rng.normal(0, 1, truth.shape)) + truth
    assert count(scores, truth).average_precision() == pytest.approx(average_precision_score(truth, scores), abs=1e-3)


def test_the_total_of_scans_is_the_count_of_all_voxels() -> None:
    scans = [random_scores(seed) for seed in range(3)]
    pooled = total(count(*scan) for scan in scans)
    together = count(*(np.concatenate(part) for part in zip(*scans, strict=True)))
    for part in ("scores", "healthy", "lesion"):
        assert np.array_equal(getattr(pooled, part), getattr(together, part))
    assert total([]).prevalence() is None


def test_merged_bins_hold_the_same_voxels_and_the_same_dice_at_their_thresholds() -> None:
    scores, truth = random_scores()
    counts = count(scores, truth)
    starts = shared_thresholds(counts, 64)
    assert 32 < len(starts) <= 64 and starts[0] == scores.min()
    merged = counts.merged(starts)
    assert (merged.healthy.sum(), merged.lesion.sum()) == (counts.healthy.sum(), counts.lesion.sum())
    assert merged.dice() == pytest.approx([dice(scores >= start, truth) for start in starts])
    assert merged.average_precision() == pytest.approx(counts.average_precision(), abs=0.02)


def test_without_lesion_nothing_is_defined() -> None:
    counts = count(SCORES, np.zeros(6, bool))
    assert counts.average_precision() is counts.auroc() is counts.best_dice() is counts.dice_at(1.0) is None
    assert [len(values) for values in counts.precision_recall()] == [0, 0]
    assert np.isnan(counts.dice()).all()
    assert counts.prevalence() == 0


def test_without_healthy_voxels_there_is_no_auroc() -> None:
    counts = count(SCORES, np.ones(6, bool))
    assert counts.auroc() is None
    assert counts.average_precision() == pytest.approx(1)


def test_no_voxel_at_all_is_allowed() -> None:
    counts = count(np.empty(0), np.empty(0, bool))
    assert counts.prevalence() is counts.average_precision() is counts.auroc() is None


def test_an_infinite_score_is_above_all_others() -> None:
    counts = count(np.array([np.inf, 60_000.0]), np.array([True, False]))
    assert counts.average_precision() == 1


@pytest.mark.parametrize("score", [np.nan, 70_000.0, -1e30])
def test_a_score_that_does_not_fit_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="65504"):
        count(np.array([score]), np.zeros(1, bool))


def test_scores_and_truth_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        count(np.zeros((2, 3)), np.zeros((3, 2), bool))
