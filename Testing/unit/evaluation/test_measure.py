import numpy as np
import pytest

from conddiffusion_uad.evaluation.cases import Case, Examined
from conddiffusion_uad.evaluation.measure import Circumstances, Rule, measure
from conddiffusion_uad.evaluation.methods import Scored, rank_score

SPACING = (5.0, 2.0, 2.0)  # 0.02 ml a voxel
NOTHING_ELSE = Circumstances(None, {"total": 1.0}, None, [])


@pytest.fixture
def examined() -> Examined:
    """A brain of 4 x 10 x 10 voxels with a lesion of 8 voxels inside and 2 outside, which are not judged."""
    brain = np.zeros((6, 12, 12), bool)
    brain[1:5, 1:11, 1:11] = True
    truth = np.zeros(brain.shape, bool)
    truth[2, 2:4, 2:6] = True
    truth[0, 5, 5:7] = True
    case = Case("p", "data", "T2", None, None if not truth.any() else "seg")
    return Examined(case, None, None, None, brain, truth, SPACING, None)


def scored(examined: Examined, lesion: float, elsewhere: float = 0.5) -> Scored:
    score = np.where(examined.native_mask, elsewhere, 0).astype(np.float32)
    score[2, 2:4, 2:5] = lesion  # 6 of the 8 voxels
    score[4, 8, 8:10] = 3  # false: 2 voxels, 0.04 ml
    score[1, 8:10, 2:6] = 2.5  # false: 8 voxels, 0.16 ml
    return Scored("model", score, score)


def test_figures_of_a_case_agree_with_those_by_hand(examined: Examined) -> None:
    record, counts = measure(examined, [scored(examined, 4.0)], Rule(), NOTHING_ELSE)
    assert record.brain_ml == pytest.approx(8)
    assert record.lesion_ml == pytest.approx(0.16)
    assert record.prevalence == pytest.approx(8 / 400)
    model = record.methods["model"]
    assert model.dice == pytest.approx(2 * 6 / (14 + 8))  # the finding of 0.04 ml is too small to be one
    assert model.flagged_fraction == pytest.approx(10 / 392)  # before the small ones go
    assert model.flagged_ml == pytest.approx(14 * 0.02)
    assert (model.false_findings, model.false_ml) == (1, pytest.approx(0.16))
    (lesion,) = model.lesions
    assert lesion == {"ml": pytest.approx(0.16), "peak": 4.0, "detected": True, "iou": pytest.approx(6 / 8)}
    assert model.oracle_dice == pytest.approx(2 * 6 / (6 + 8))
    assert model.oracle_threshold == 4.0
    # thresholds 4, 3, 2.5, 0.5: recall 6/8 at precision 1, the rest at 8/400
    assert model.average_precision == pytest.approx(6 / 8 + 2 / 8 * 8 / 400)
    assert counts["model"].lesion.sum() == 8 and counts["model"].healthy.sum() == 392
    assert [bool(lesion) for _, lesion in model.slices] == [False, True, False, False]
    assert [peak for peak, _ in model.slices] == [2.5, 4.0, 0.5, 3.0]
    assert next(point for point in model.froc if point["threshold"] == 2.5)["false_findings"] == 1


def test_a_lesion_below_the_threshold_is_missed(examined: Examined) -> None:
    record, _ = measure(examined, [scored(examined, 1.9)], Rule(), NOTHING_ELSE)
    model = record.methods["model"]
    assert model.dice == 0
    assert not model.lesions[0]["detected"]
    record, _ = measure(examined, [scored(examined, 1.9)], Rule(healthy_flagged=0.02), NOTHING_ELSE)
    assert record.methods["model"].lesions[0]["detected"]


def test_a_healthy_scan_has_no_figures_that_need_a_lesion(examined: Examined) -> None:
    examined.native_truth[:] = False
    record, _ = measure(examined, [scored(examined, 4.0)], Rule(), NOTHING_ELSE)
    model = record.methods["model"]
    assert model.average_precision is model.dice is model.oracle_dice is model.surface_dice is None
    assert model.lesions == []
    assert model.false_findings == 2
    assert model.flagged_fraction == pytest.approx(16 / 400)


def test_rank_score_flags_the_top_percent_of_each_brain() -> None:
    mask = np.ones((1, 10, 100), bool)
    mask[0, 0] = False
    values = np.random.default_rng(0).permutation(1000).reshape(mask.shape).astype(np.float32) * 7
    score = rank_score(values, mask)
    assert (score >= 2).sum() == 9
    assert not score[~mask].any()
    order = np.argsort(values[mask])
    assert np.all(np.diff(score[mask][order]) > 0)


def test_equal_values_share_a_rank_so_that_nothing_is_flagged_by_chance() -> None:
    score = rank_score(np.zeros((1, 10, 10), np.float32), np.ones((1, 10, 10), bool))
    assert not score.any()
