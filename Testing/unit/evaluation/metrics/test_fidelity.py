import math

import numpy as np
import pytest
import torch
from monai.metrics import PSNRMetric
from monai.metrics.regression import compute_ssim_and_cs

from conddiffusion_uad.evaluation.metrics.fidelity import (
    HISTOGRAM_BINS,
    fidelity,
    histogram_kl,
    mean_difference,
    psnr,
    ssim,
)

SHAPE = (24, 26, 28)
EVERYWHERE = np.ones(SHAPE, bool)


def brain() -> np.ndarray:
    """A box away from the border, so that no window of a voxel inside leaves the volume."""
    mask = np.zeros(SHAPE, bool)
    mask[6:18, 6:20, 6:22] = True
    return mask


def random_pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    volume = rng.random(SHAPE).astype(np.float32)
    return volume, np.clip(volume + rng.normal(0, 0.1, SHAPE), 0, 1).astype(np.float32)


def test_differences_by_hand_are_inside_the_brain_only() -> None:
    mask, truth = brain(), np.zeros(SHAPE, bool)
    truth[6:8, 6:8, 6:8] = truth[0, 0, 0] = True
    volume = np.where(truth, 0.9, 0.5) * mask
    reconstruction = np.where(mask, np.where(truth, 0.5, 0.4), 77.0)
    measured = fidelity(volume, reconstruction, mask, truth)
    assert measured["l1_healthy"] == pytest.approx(0.1)
    assert measured["l1_lesion"] == pytest.approx(0.4)
    assert measured["l1_ratio"] == pytest.approx(4)


def test_a_healthy_scan_has_no_difference_in_the_lesion() -> None:
    volume, reconstruction = random_pair()
    measured = fidelity(volume, reconstruction, brain(), EVERYWHERE & False)
    assert (measured["l1_lesion"], measured["l1_ratio"]) == (None, None)
    assert measured["l1_healthy"] == mean_difference(volume, reconstruction, brain())


def test_a_perfect_reconstruction() -> None:
    volume, _ = random_pair()
    truth = EVERYWHERE & False
    truth[8, 8, 8] = True
    assert list(fidelity(volume, volume, brain(), truth).values()) == [0.0, 0.0, None, pytest.approx(1), None, 0.0]


def test_psnr_by_hand() -> None:
    # A difference of 0.1 everywhere: -10 log10(0.01) = 20 dB, whatever lies outside.
    volume = np.full(SHAPE, 0.5)
    assert psnr(volume, np.where(brain(), 0.6, 0.0), brain()) == pytest.approx(20)


def test_psnr_agrees_with_monai() -> None:
    volume, reconstruction = random_pair()
    inside = [torch.from_numpy(image[brain()])[None, None] for image in (reconstruction, volume)]
    assert psnr(volume, reconstruction, brain()) == pytest.approx(PSNRMetric(1.0)(*inside).item(), rel=1e-5)


def test_ssim_of_two_constants_by_hand() -> None:
    # Without any structure the luminance term is left: (2 a b + C) / (a^2 + b^2 + C), C = 0.01^2.
    expected = (2 * 0.5 * 0.8 + 1e-4) / (0.25 + 0.64 + 1e-4)
    assert ssim(np.full(SHAPE, 0.5), np.full(SHAPE, 0.8), EVERYWHERE) == pytest.approx(expected)


def test_ssim_agrees_with_monai() -> None:
    volume, reconstruction = random_pair()
    pair = [torch.from_numpy(image * brain())[None, None] for image in (reconstruction, volume)]
    similarity, _ = compute_ssim_and_cs(*pair, 3, (11,) * 3, (1.5,) * 3, data_range=1.0)  # without a rim of 5 voxels
    expected = similarity[0, 0].numpy()[brain()[5:-5, 5:-5, 5:-5]].mean()
    assert ssim(volume, reconstruction, brain()) == pytest.approx(expected, rel=1e-4)


def test_ssim_does_not_look_outside_the_brain() -> None:
    volume, reconstruction = random_pair()
    assert ssim(volume, np.where(brain(), reconstruction, 0.7), brain()) == ssim(volume, reconstruction, brain())


def test_ssim_of_a_volume_below_the_window_is_not_defined() -> None:
    volume, reconstruction = random_pair()
    assert ssim(volume[:10], reconstruction[:10], brain()[:10]) is None


def test_histogram_divergence_by_hand() -> None:
    # 900 voxels in one bin against 900 in another; one more in each of the 100 bins makes 1000.
    mask = np.arange(1000) < 900
    volume, reconstruction = np.full(1000, 0.205), np.full(1000, 0.705)
    expected = (901 - 1) / 1000 * math.log(901 / 1)
    assert HISTOGRAM_BINS == 100
    assert histogram_kl(volume, reconstruction, mask) == pytest.approx(expected)
    assert histogram_kl(volume, volume + 0.001, mask) == 0


def test_histogram_divergence_agrees_with_torch() -> None:
    volume, reconstruction = random_pair()
    masses = []
    for image in (volume, reconstruction):
        counts = torch.histc(torch.from_numpy(image[brain()]), HISTOGRAM_BINS, 0, 1).double() + 1
        masses.append(counts / counts.sum())
    expected = torch.nn.functional.kl_div(masses[1].log(), masses[0], reduction="sum").item()
    assert histogram_kl(volume, reconstruction, brain()) == pytest.approx(expected, rel=0.01)


def test_histogram_divergence_of_disjoint_intensities_is_finite() -> None:
    volume, _ = random_pair()
    assert 0 < histogram_kl(volume, volume * 0, brain()) < math.inf


def test_intensities_beyond_the_histogram_are_in_its_outermost_bins() -> None:
    zero = np.zeros(SHAPE)
    assert histogram_kl(zero + 7, zero - 5, brain()) == histogram_kl(zero + 1, zero, brain()) > 1
