"""The guided filter against its definition, and what it does to a map."""

import numpy as np
import pytest

from conddiffusion_uad.method.anomaly_map.guided import SMALLEST_EDGE, guided

REACH = (1, 2, 3)


@pytest.fixture
def drawn():
    random = np.random.default_rng(0)
    found, scan = random.uniform(0, 4, (4, 9, 8)), random.uniform(0, 1, (4, 9, 8))
    mask = random.uniform(size=found.shape) < 0.7
    return found.astype(np.float32), scan.astype(np.float32), mask


def by_definition(found, scan, mask):
    """Voxel by voxel, the regression of each neighborhood's brain."""

    def neighbors(at):
        window = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(at, REACH, strict=True))
        return window, mask[window]

    slope, offset = np.zeros(found.shape), np.zeros(found.shape)
    for at in np.argwhere(mask):
        window, inside = neighbors(at)
        intensity, value = scan[window][inside].astype(float), found[window][inside].astype(float)
        covariance = np.mean(intensity * value) - intensity.mean() * value.mean()
        slope[tuple(at)] = covariance / (intensity.var() + SMALLEST_EDGE**2)
        offset[tuple(at)] = value.mean() - slope[tuple(at)] * intensity.mean()
    fitted = np.zeros(found.shape)
    for at in np.argwhere(mask):
        window, inside = neighbors(at)
        fitted[tuple(at)] = slope[window][inside].mean() * scan[tuple(at)] + offset[window][inside].mean()
    return fitted


def test_it_is_the_filter_of_the_paper_within_the_brain(drawn):
    found, scan, mask = drawn
    fitted = guided(found, scan, mask, REACH)
    assert np.allclose(fitted, by_definition(*drawn), atol=1e-4) and fitted.dtype == np.float32
    assert not fitted[~mask].any() and np.abs(fitted - found)[mask].max() > 0.1


def test_what_lies_outside_the_brain_says_nothing(drawn):
    found, scan, mask = drawn
    other = [np.where(mask, values, 100).astype(np.float32) for values in (found, scan)]
    assert np.allclose(guided(*other, mask, REACH), guided(found, scan, mask, REACH), atol=1e-4)


def test_a_blurred_map_ends_where_the_intensities_do():
    mask = np.ones((3, 30, 30), bool)
    scan = np.full(mask.shape, 0.4, np.float32)
    scan[:, :, 15:] = 0.9
    blurred = np.broadcast_to(np.clip((np.arange(30) - 9) / 12, 0, 1), mask.shape).astype(np.float32) * 5
    fitted = guided(blurred, scan, mask, (1, 6, 6))
    step = {"blurred": blurred[1, 15, 15] - blurred[1, 15, 14], "fitted": fitted[1, 15, 15] - fitted[1, 15, 14]}
    assert step["fitted"] > 5 * step["blurred"], step


def test_a_scan_without_contrast_smooths_and_a_flat_map_stays(drawn):
    found, scan, mask = drawn
    assert np.allclose(guided(np.full_like(found, 2), scan, mask, REACH)[mask], 2, atol=1e-4)
    smooth = guided(found, np.full_like(scan, 0.5), mask, REACH)
    assert smooth[mask].std() < 0.3 * found[mask].std()
