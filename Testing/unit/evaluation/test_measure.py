from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conddiffusion_uad.evaluation.measure import Ground, latent_auroc
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.settings import Rule

SPACING = (5.0, 2.0, 2.0)  # 0.02 ml a voxel


@pytest.fixture
def place() -> tuple[np.ndarray, np.ndarray]:
    """A brain of 4 x 10 x 10 voxels with a lesion of 8 voxels."""
    brain = np.zeros((6, 12, 12), bool)
    brain[1:5, 1:11, 1:11] = True
    truth = np.zeros(brain.shape, bool)
    truth[2, 2:4, 2:6] = True
    return brain, truth


def scored(brain: np.ndarray, lesion: float, threshold: float = 2.0) -> Scored:
    score = np.where(brain, 0.5, 0).astype(np.float32)
    score[2, 2:4, 2:5] = lesion  # 6 of the 8 voxels
    score[4, 8, 8:10] = 3  # false: 2 voxels, 0.04 ml
    score[1, 8:10, 2:6] = 2.5  # false: 8 voxels, 0.16 ml
    return Scored("model", score, score, threshold)


def test_figures_of_a_case_agree_with_those_by_hand(place: tuple[np.ndarray, np.ndarray]) -> None:
    model, counts = Ground(*place, SPACING, Rule()).measure(scored(place[0], 4.0))
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
    assert counts.lesion.sum() == 8 and counts.healthy.sum() == 392
    assert [bool(lesion) for _, lesion in model.slices] == [False, True, False, False]
    assert [peak for peak, _ in model.slices] == [2.5, 4.0, 0.5, 3.0]
    assert next(point for point in model.froc if point["threshold"] == 2.5)["false_findings"] == 1


def test_a_lesion_below_the_threshold_is_missed(place: tuple[np.ndarray, np.ndarray]) -> None:
    ground = Ground(*place, SPACING, Rule())
    model, _ = ground.measure(scored(place[0], 1.9))
    assert model.dice == 0
    assert not model.lesions[0]["detected"]
    model, _ = ground.measure(scored(place[0], 1.9, 1.7))
    assert model.lesions[0]["detected"] and model.threshold == 1.7
    assert [p["threshold"] for p in model.froc].count(1.7) == 1, "where it stands on the curve of lesions"


def test_a_healthy_scan_has_no_figures_that_need_a_lesion(place: tuple[np.ndarray, np.ndarray]) -> None:
    model, _ = Ground(place[0], place[1] & False, SPACING, Rule()).measure(scored(place[0], 4.0))
    assert model.average_precision is model.dice is model.oracle_dice is model.surface_dice is None
    assert model.lesions == []
    assert model.false_findings == 2
    assert model.flagged_fraction == pytest.approx(16 / 400)


def test_a_changed_map_is_compared_with_the_former_by_hand() -> None:
    brain = np.ones((1, 2, 5), bool)
    truth = np.array([[[1, 1, 0, 0, 0], [0] * 5]], bool)
    before = np.array([[[3, 3, 0, 0, 0], [0] * 5]], np.float32)
    after = np.array([[[3, 0, 3, 0, 0], [0] * 5]], np.float32)
    maps = [Scored("m", values, values, 2.0) for values in (after, before)]
    figures, _ = Ground(brain, truth, (10.0,) * 3, Rule()).measure(*maps)
    assert figures.average_precision == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 10)
    assert figures.flagged_fraction == pytest.approx(1 / 8)
    assert figures.flagged_ml == pytest.approx(2)
    assert figures.correlation == pytest.approx((0.1 - 0.04) / (0.2 * 0.8))
    assert figures.difference == pytest.approx(0.6)
    assert figures.agreement == pytest.approx(0.5)


def test_slices_with_lesion_are_told_from_others_by_the_eyes_of_the_encoder() -> None:
    mask, truth = np.zeros((5, 8, 8), bool), np.zeros((5, 8, 8), bool)
    mask[1:], mask[0, :2, :2] = True, True  # slice 0 shows too little brain: it has no value
    truth[2, 3, 3] = truth[4, 1, 1] = truth[0, 0, 0] = True

    def made(*values: float) -> Any:
        measures = {"latent_dissimilarity_slices": list(values)} if values else {}
        return SimpleNamespace(measures=measures, restored=SimpleNamespace(mask=mask))

    assert latent_auroc(made(0.1, 0.3, 0.2, 0.9), truth) == 1
    assert latent_auroc(made(0.4, 0.3, 0.2, 0.9), truth) == pytest.approx(3 / 4)
    assert latent_auroc(made(0.5, 0.5, 0.5, 0.5), truth) == pytest.approx(1 / 2)
    assert latent_auroc(made(0.1, 0.3, 0.2, 0.9), truth & False) is None
    assert latent_auroc(made(), truth) is None  # no encoder
