import warnings

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from conddiffusion_uad.evaluation.metrics.surface import surface_figures


def surface_dice(*arguments: object, **more: float) -> float | None:
    return surface_figures(*arguments, **more)[0]


def hausdorff95(*arguments: object) -> float | None:
    return surface_figures(*arguments)[1]


def ball(center: tuple[float, float, float], radius: float, shape: tuple[int, int, int] = (32, 20, 24)) -> np.ndarray:
    distances = sum((axis - middle) ** 2 for axis, middle in zip(np.indices(shape), center, strict=True))
    return distances <= radius**2


def distances(flagged: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """From each border voxel of one to the nearest of the other, by trying all."""
    borders = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing for mask in (flagged, truth)]
    pairs = cdist(*borders)
    return pairs.min(axis=1), pairs.min(axis=0)


def voxel(*index: int) -> np.ndarray:
    mask = np.zeros((60, 8, 10), bool)
    mask[index] = True
    return mask


def test_distances_by_hand_are_in_mm() -> None:
    one, other = voxel(2, 3, 4), voxel(3, 3, 4)
    assert hausdorff95(one, other, (3.0, 1.0, 1.0)) == pytest.approx(3)
    assert hausdorff95(voxel(2, 3, 4), voxel(2, 3, 8), (3.0, 1.0, 0.5)) == pytest.approx(2)
    assert hausdorff95(voxel(2, 3, 4), voxel(2, 6, 8), (1.0, 1.0, 1.0)) == pytest.approx(5)
    assert surface_dice(one, other, (3.0, 1.0, 1.0)) == 0
    assert surface_dice(one, other, (3.0, 1.0, 1.0), tolerance_mm=3) == 1
    assert surface_dice(one, other, (2.0, 1.0, 1.0)) == 1


def test_surface_dice_counts_the_borders_of_both() -> None:
    # One of the two flagged voxels is 6 mm from the one of the truth: 2 of 3 border voxels agree.
    assert surface_dice(voxel(2, 3, 2) | voxel(2, 3, 8), voxel(2, 3, 2), (1.0, 1.0, 1.0)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.9, 1.1)])
@pytest.mark.parametrize("center", [(6, 10, 12), (3, 6, 5), (0, 18, 23)])
def test_both_agree_with_all_pairs_of_border_voxels(
    spacing: tuple[float, float, float], center: tuple[float, float, float]
) -> None:
    flagged, truth = ball(center, 4.5), ball((5, 9, 12), 5.5)
    there, back = distances(flagged, truth, spacing)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hausdorff95(flagged, truth, spacing) == pytest.approx(expected, rel=1e-5)
    near = np.concatenate([there, back]) <= 2
    assert surface_dice(flagged, truth, spacing) == pytest.approx(near.mean(), rel=1e-5)


def test_a_thin_volume_is_judged_by_the_outline_of_its_middle_slice() -> None:
    flagged, truth = (
        np.repeat(ball(center, radius)[5:6], 3, 0) for center, radius in (((5, 9, 9), 5), ((5, 9, 14), 6))
    )
    there, back = distances(flagged[0], truth[0], (0.8, 1.2))
    near = np.concatenate([there, back]) <= 2
    assert surface_dice(flagged, truth, (5.0, 0.8, 1.2)) == pytest.approx(near.mean())
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hausdorff95(flagged, truth, (5.0, 0.8, 1.2)) == pytest.approx(expected)
    flagged[1] = False
    assert surface_dice(flagged, truth, (5.0, 0.8, 1.2)) is None


def test_equal_sets_agree_perfectly() -> None:
    mask = ball((6, 10, 12), 4)
    assert surface_dice(mask, mask, (1.0, 1.0, 1.0)) == 1
    assert hausdorff95(mask, mask, (1.0, 1.0, 1.0)) == 0


@pytest.mark.parametrize(("one", "other"), [(1, 0), (0, 1), (0, 0)])
def test_an_empty_set_has_no_surface(one: int, other: int) -> None:
    mask = ball((6, 10, 12), 4)
    pair = (mask & bool(one), mask & bool(other))
    assert surface_dice(*pair, (1.0, 1.0, 1.0)) is None
    assert hausdorff95(*pair, (1.0, 1.0, 1.0)) is None


def test_nothing_is_said_on_the_way() -> None:
    mask = ball((6, 10, 12), 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface_figures(mask, mask, (1.0, 1.0, 1.0))
