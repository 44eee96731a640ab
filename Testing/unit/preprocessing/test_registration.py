"""Registration finds a known placement of the atlas in any contrast, always the same one, and says when it cannot."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing.registration import SURE_DICE, Registered, _Search, overlap, plausible, register
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import Cancelled

ATLAS = atlases.load()


def head(angles: tuple[float, float, float], scales: tuple[float, float, float], shift: float = 25.0) -> sitk.Transform:
    """A placement of the atlas in a patient: atlas points to patient points. Angles in degrees about x, y, z."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(math.radians(angle) for angle in angles))
    place = sitk.AffineTransform(3)
    place.SetCenter((0.0, 18.0, 10.0))
    place.SetMatrix((np.array(turn.GetMatrix()).reshape(3, 3) @ np.diag(scales)).flatten())
    place.SetTranslation((shift, -shift, shift / 2))
    return place


def patient(
    place: sitk.Transform, spacing: tuple[float, float, float] = (2.0, 2.0, 3.0), inverted: bool = False
) -> tuple[sitk.Image, sitk.Image]:
    """The atlas as a scan of a patient, noisy, optionally with dark white matter, and its brain mask."""
    size = tuple(round(250 / s) for s in spacing)
    grid = Grid(size, spacing, (-110.0, -140.0, -115.0))
    there = place.GetInverse()
    mask = sitk.Resample(ATLAS.mask, grid.blank(), there, sitk.sitkNearestNeighbor)
    values = sitk.GetArrayFromImage(sitk.Resample(ATLAS.t1, grid.blank(), there, sitk.sitkLinear))
    values = 280.0 - values if inverted else values
    values += np.random.default_rng(0).normal(0, 6, values.shape)
    return sitk.Mask(grid.with_array(values.astype(np.float32)), mask), mask


def error_mm(found: sitk.Transform, true: sitk.Transform) -> float:
    """Mean distance over the atlas' brain between where two transforms put it."""
    points = np.argwhere(sitk.GetArrayViewFromImage(ATLAS.mask))[::501, ::-1]
    places = [ATLAS.mask.TransformIndexToPhysicalPoint([int(i) for i in point]) for point in points]
    gaps = [np.subtract(found.TransformPoint(place), true.TransformPoint(place)) for place in places]
    return float(np.linalg.norm(gaps, axis=1).mean())


@pytest.mark.parametrize(
    ("angles", "scales", "spacing", "inverted"),
    [
        ((0, 0, 0), (0.9, 0.87, 0.85), (2, 2, 2), False),
        ((25, 5, -10), (0.92, 0.9, 0.84), (2, 2, 3), True),
        ((-25, -8, 12), (1.0, 0.95, 0.9), (1.9, 1.9, 5), False),
    ],
    ids=["upright", "bowed, T2-like", "leaning back, thick slices"],
)
def test_a_known_placement_is_found_within_two_millimeters(
    angles: tuple[float, float, float],
    scales: tuple[float, float, float],
    spacing: tuple[float, float, float],
    inverted: bool,
) -> None:
    place = head(angles, scales)
    found = register(*patient(place, spacing, inverted), ATLAS, Quiet())
    assert error_mm(found.to_atlas, place) < 2.0
    assert found.ok
    assert found.usual_size
    assert found.scales == pytest.approx(sorted(scales, reverse=True), abs=0.03)


def test_a_stack_that_misses_the_top_and_the_bottom_is_placed_where_it_belongs() -> None:
    place = head((10, 0, 5), (0.9, 0.9, 0.88))
    image, mask = patient(place, (2, 2, 5))
    found = register(image[:, :, 17:33], mask[:, :, 17:33], ATLAS, Quiet())
    assert found.ok
    assert error_mm(found.to_atlas, place) < 4.0


def test_the_same_scan_gives_the_same_transform_bit_for_bit() -> None:
    scan = patient(head((8, 0, 0), (0.95, 0.9, 0.9)), (3, 3, 4))
    first, second = (register(*scan, ATLAS, Quiet()) for _ in range(2))
    assert first.ok
    assert first.to_atlas.GetParameters() == second.to_atlas.GetParameters()
    assert first.to_atlas.GetFixedParameters() == second.to_atlas.GetFixedParameters()
    assert first.quality == second.quality


def test_a_slice_distance_twice_too_large_is_found_and_told() -> None:
    image, mask = patient(head((0, 0, 0), (0.9, 0.9, 0.9)), (2.5, 2.5, 4))
    for part in (image, mask):
        part.SetSpacing((2.5, 2.5, 9.0))
    found = register(image, mask, ATLAS, Quiet())
    assert found.ok
    assert not found.usual_size
    assert found.scales[0] == pytest.approx(0.9 * 9 / 4, rel=0.05)


def test_something_that_is_no_brain_is_reported() -> None:
    grid = Grid((50, 50, 40), (3.0, 3.0, 3.0), (-75.0, -75.0, -60.0))
    z, y, x = np.indices(grid.size[::-1]) * 3.0
    ring = np.hypot(np.hypot(x - 75, y - 75) - 45, z - 60) < 14
    noise = np.random.default_rng(0).uniform(50, 100, ring.shape)
    image, mask = (grid.with_array(a) for a in ((noise * ring).astype(np.float32), ring.astype(np.uint8)))
    found = register(image, mask, ATLAS, Quiet())
    assert not found.ok
    assert plausible(found.to_atlas)


def test_a_scan_turned_upside_down_is_reported() -> None:
    image, mask = patient(head((0, 0, 0), (0.9, 0.9, 0.9)), (3, 3, 3))
    turned = [sitk.Flip(part, (False, True, True)) for part in (image, mask)]
    for part in turned:
        part.CopyInformation(image)
    assert not register(*turned, ATLAS, Quiet()).ok


def test_a_search_that_fits_surely_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    execute = _Search._execute

    def counted(search: _Search, method: sitk.ImageRegistrationMethod, factor: int) -> float:
        levels.append(factor)
        return execute(search, method, factor)

    monkeypatch.setattr(_Search, "_execute", counted)
    image, mask = patient(head((0, 0, 0), (0.9, 0.9, 0.9)), (3, 3, 4))
    assert register(image, mask, ATLAS, Quiet()).quality >= SURE_DICE
    assert levels == [4, 4, 2, 1]
    levels.clear()
    turned = [sitk.Flip(part, (False, True, True)) for part in (image, mask)]
    for part in turned:
        part.CopyInformation(image)
    told: list[float] = []
    progress = Quiet()
    monkeypatch.setattr(progress, "advance", told.append)
    assert register(*turned, ATLAS, progress).quality < SURE_DICE
    assert max(told) < 1  # an end is told every time, which would be hundreds of events
    assert levels == [4, 4, 2, 1, 4, 4, 4, 2, 4, 2, 1]


def test_cancelling_ends_the_search() -> None:
    class Impatient(Quiet):
        reports = 0

        def advance(self, fraction: float) -> None:
            self.reports += 1
            if self.reports >= 3:
                raise Cancelled()

    impatient = Impatient()
    with pytest.raises(Cancelled):
        register(*patient(head((0, 0, 0), (0.9, 0.9, 0.9)), (3, 3, 4)), ATLAS, impatient)
    assert impatient.reports < 6
    gc.collect()
    left = [thing for thing in gc.get_objects() if type(thing) is sitk.ImageRegistrationMethod]
    assert left == [], "each holds two volumes"


def test_overlap_is_one_for_the_atlas_itself_and_counts_only_the_field_of_view() -> None:
    identity = sitk.AffineTransform(3)
    assert overlap(identity, ATLAS.mask, ATLAS) == 1.0
    assert overlap(identity, ATLAS.mask[:, :, 20:50], ATLAS) == 1.0
    away = sitk.AffineTransform(3)
    away.SetTranslation((500.0, 0.0, 0.0))
    assert overlap(away, ATLAS.mask, ATLAS) == 0.0


@pytest.mark.parametrize(
    ("matrix", "believable"),
    [
        (np.diag([0.9, 0.85, 0.8]), True),
        (np.diag([-0.9, 0.85, 0.8]), False),
        (np.diag([0.9, 0.85, 0.1]), False),
        (np.diag([0.9, 0.85, 3.0]), False),
        (np.array([[1, 0.8, 0], [0, 1, 0], [0, 0, 1]]), False),
        (np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]]), False),
    ],
    ids=["a head", "mirrored", "flat", "tall", "sheared", "upside down"],
)
def test_plausible_transforms(matrix: np.ndarray, believable: bool) -> None:
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(np.asarray(matrix, float).flatten())
    assert plausible(affine) is believable
    assert Registered(affine, 1.0, True).scales == pytest.approx(tuple(np.linalg.svd(matrix, compute_uv=False)))
