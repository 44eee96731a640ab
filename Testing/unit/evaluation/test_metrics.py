import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from conddiffusion_uad.evaluation.baselines import blur_residual
from conddiffusion_uad.evaluation.metrics.voxels import auroc, average_precision, best_dice, dice
from conddiffusion_uad.method.intensity import rank_normalized


def test_average_precision_by_hand() -> None:
    # Thresholds .9 .8 .4 .1: precision 1, 1/2, 2/3, 1/2 at recall 1/2, 1/2, 1, 1.
    assert average_precision(np.array([0.9, 0.8, 0.4, 0.1]), np.array([1, 0, 1, 0])) == pytest.approx(0.5 + 0.5 * 2 / 3)


@pytest.mark.parametrize("levels", [5, 10_000])
def test_average_precision_agrees_with_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.05
    scores = np.floor(levels * (rng.random(5000) + 0.5 * truth))
    assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))


def test_average_precision_of_no_lesion_is_not_a_number() -> None:
    assert np.isnan(average_precision(np.ones(4), np.zeros(4)))


def test_auroc_by_hand_counts_equal_scores_one_half() -> None:
    # The lesion at .9 beats both healthy voxels, the one at .4 ties with one and loses to the other: 2.5 of 4 pairs.
    assert auroc(np.array([0.9, 0.4, 0.8, 0.4]), np.array([1, 1, 0, 0])) == pytest.approx(2.5 / 4)


@pytest.mark.parametrize("levels", [5, 10_000])
def test_auroc_agrees_with_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.05
    scores = np.floor(levels * (rng.random(5000) + 0.5 * truth))
    assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


@pytest.mark.parametrize("truth", [np.zeros(4), np.ones(4), np.zeros(0)])
def test_auroc_of_one_class_is_not_a_number(truth: np.ndarray) -> None:
    assert np.isnan(auroc(np.arange(len(truth)), truth))


def test_equalized_intensity_is_uniform_inside_the_brain_whatever_the_contrast() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((10, 10, 10)) < 0.5
    volume = rng.gamma(1.0, 1.0, mask.shape)
    score = rank_normalized(volume, mask)
    assert np.sort(score[mask]) == pytest.approx(np.arange(1, mask.sum() + 1) / mask.sum())
    assert np.array_equal(score, rank_normalized(np.exp(volume), mask))
    assert not score[~mask].any()


def test_blur_residual_finds_what_stands_out_and_not_the_rim() -> None:
    mask = np.zeros((24, 24, 24), bool)
    mask[4:20, 4:20, 4:20] = True
    volume = mask * 0.5
    volume[12, 12, 12] = 1.0
    residual = blur_residual(volume, mask)
    assert residual[12, 12, 12] == pytest.approx(0.5, abs=0.01)
    assert residual[4, 12, 12] < 0.02


def test_dice_of_known_sets() -> None:
    flagged, truth = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert dice(flagged, truth) == 0.5
    assert np.isnan(dice(flagged & False, truth & False))


def test_best_dice_is_that_of_the_best_threshold() -> None:
    scores, truth = np.array([4.0, 3.0, 2.0, 2.0, 1.0]), np.array([1, 0, 1, 1, 0], bool)
    assert best_dice(scores, truth) == pytest.approx(6 / 7)  # from 2 on: three hits among four
    assert best_dice(scores, truth) == max(dice(scores >= level, truth) for level in scores)
    assert np.isnan(best_dice(scores, truth & False))
