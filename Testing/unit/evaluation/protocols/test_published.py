import numpy as np
import pytest

from conddiffusion_uad.evaluation.metrics.score_counts import dice
from conddiffusion_uad.evaluation.metrics.statistics import FOLDS
from conddiffusion_uad.evaluation.protocols.published import (
    Volume,
    filtered_residual,
    run_fold,
    search_threshold,
    segment,
    validation_patients,
)


def volume_of(patient: str, threshold: float, seed: int = 0) -> Volume:
    """A residual that is above a threshold just where the lesion is, but for the background."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((8, 12, 12), bool)
    truth[2:6, 3:8, 3:8] = True
    residual = np.where(truth, rng.uniform(threshold, 1, truth.shape), rng.uniform(0, threshold, truth.shape))
    return Volume(patient, residual.astype(np.float16).astype(np.float32), truth)


def test_components_of_seven_voxels_go_and_of_eight_stay() -> None:
    residual = np.zeros((6, 12, 12), np.float32)
    residual[1, 1, 1:8] = 1
    residual[3:5, 6:8, 6:8] = 1
    kept = segment(residual, 0.5)
    assert not kept[1].any()
    assert kept[3:5, 6:8, 6:8].all()
    assert kept.sum() == 8


def test_components_that_touch_at_a_corner_are_one() -> None:
    residual = np.zeros((6, 12, 12), np.float32)
    residual[1:3, 1:3, 1] = residual[3:5, 3:5, 2] = 1
    assert segment(residual, 0.5).sum() == 8


def test_mask_is_eroded_in_each_slice_and_the_rim_does_not_count() -> None:
    mask = np.zeros((5, 50, 50), bool)
    mask[:, 10:40, 10:40] = True
    inside = filtered_residual(mask.astype(np.float32), np.zeros(mask.shape, np.float32), mask) > 0
    # Two erosions at a height of 50, none across the slices; the median then takes the corners and keeps the edges.
    assert inside[:, 12, 25].all() and not inside[:, 11, 25].any() and not inside[:, 12, 12].any()


def test_a_small_residual_is_wiped_out_by_the_median() -> None:
    volume = np.zeros((16, 24, 24), np.float32)
    mask = np.ones(volume.shape, bool)
    volume[8:11, 8:11, 8:11] = 1  # 27 of 125 voxels
    assert not filtered_residual(volume, np.zeros_like(volume), mask).any()
    volume[6:12, 6:12, 6:12] = 1
    assert filtered_residual(volume, np.zeros_like(volume), mask)[8, 8, 8] == 1


def test_search_finds_the_threshold_that_separates() -> None:
    volumes = [volume_of("a", 0.2), volume_of("b", 0.2, seed=1)]
    threshold = search_threshold(volumes)
    assert np.mean([dice(volume.residual > threshold, volume.truth) for volume in volumes]) > 0.95


def test_search_may_stop_at_a_quarter_point_as_published() -> None:
    assert search_threshold([volume_of("a", 0.4)]) == pytest.approx(0.5, abs=0.01)  # 0.4 would be best


def test_fold_uses_the_threshold_of_other_patients() -> None:
    fold = run_fold([volume_of("a", 0.2)], [volume_of("b", 0.2, seed=1)])
    assert fold.dice > 0.95
    assert fold.average_precision == pytest.approx(1)
    assert run_fold([volume_of("a", 0.8)], [volume_of("b", 0.2, seed=1)]).dice < 0.6


def test_fold_without_lesions_to_test_has_no_figures() -> None:
    healthy = Volume("h", volume_of("h", 0.3).residual, np.zeros((8, 12, 12), bool))
    fold = run_fold([volume_of("a", 0.2)], [healthy])
    assert fold.dice is fold.average_precision is None


def test_every_patient_validates_once() -> None:
    patients = [f"p{i % 11}" for i in range(22)]
    folds = validation_patients(patients, seed=1)
    assert len(folds) == FOLDS
    assert sorted(patient for fold in folds for patient in fold) == sorted(set(patients))
    assert folds == validation_patients(patients, seed=1) != validation_patients(patients, seed=2)
    assert len(validation_patients(["a", "b", "b"])) == 2
