"""A place that the model marks comes back to where it is in the patient, whatever the scan's grid.

The stand-in model finds a bright ball by looking at the prepared volume, so both ways are tested, each on its own too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing import bias, preparation, registration
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Quiet

MODEL_GRID = Grid((56, 64, 48), (2.0, 2.0, 2.0), (-55.0, -63.0, -47.0))
RADII = np.array([38.0, 46.0, 36.0])  # of the phantom's brain in the atlas, mm
BALL_MM = 9.0
CASES = 40
ORIENTATIONS = list(product(permutations(range(3)), product((-1, 1), repeat=3)))
ATLAS = atlases.load()


class Case:
    """One patient: a placement of the atlas, a grid, and a ball at a known place."""

    def __init__(self, number: int) -> None:
        random = np.random.default_rng(number)
        axes, signs = ORIENTATIONS[(number * 5) % len(ORIENTATIONS)]
        self.place = _placement(random)
        self.ball_in_atlas = random.uniform(-0.45, 0.45, 3) * RADII
        self.ball = np.array(self.place.TransformPoint(self.ball_in_atlas))
        self.grid = _grid(random, axes, signs, self.place, self.ball)
        self.coarser_mm = max(2.0, *self.grid.spacing)

    def scan(self) -> sitk.Image:
        """A smooth ellipsoid with the ball in it, as the patient's grid samples it; background 0."""
        points = _points(self.grid)
        matrix = np.array(self.place.GetMatrix()).reshape(3, 3)
        shift = np.array(self.place.TransformPoint((0.0, 0.0, 0.0)))
        inside = np.linalg.inv(matrix) @ (points - shift[:, None])
        brain = ((inside / RADII[:, None]) ** 2).sum(axis=0) < 1
        width = max(BALL_MM, 1.5 * self.coarser_mm) / 2
        distance = np.linalg.norm(points - self.ball[:, None], axis=0)
        values = brain * (100 + 0.2 * inside[0] + 400 * np.exp(-0.5 * (distance / width) ** 2))
        return self.grid.with_array(values.reshape(self.grid.size[::-1]).astype(np.float32))


def _placement(random: np.random.Generator) -> sitk.AffineTransform:
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*random.uniform(-0.35, 0.35, 3))
    place = sitk.AffineTransform(3)
    place.SetMatrix((np.array(turn.GetMatrix()).reshape(3, 3) @ np.diag(random.uniform(0.85, 1.1, 3))).flatten())
    place.SetTranslation(random.uniform(-60, 60, 3))
    return place


def _grid(
    random: np.random.Generator,
    axes: tuple[int, ...],
    signs: tuple[int, ...],
    place: sitk.Transform,
    ball: np.ndarray,
) -> Grid:
    """An oblique grid of random spacing that holds the ball but may cut the brain off on any side."""
    spacing = np.exp(random.uniform(math.log(0.5), math.log(6.0), 3))
    spacing *= max(1.0, (0.9 / spacing.prod()) ** (1 / 3))  # keeps the phantom small enough for a quick test
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*random.uniform(-0.4, 0.4, 3))
    direction = np.zeros((3, 3))
    direction[list(axes), range(3)] = signs
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ direction
    middle = np.array(place.TransformPoint((0.0, 0.0, 0.0)))
    toward = direction.T @ (ball - middle)
    half = RADII.max() + 6.0
    low = np.minimum(-half + random.choice([0.0, 25.0], 3), toward - 20.0)
    high = np.maximum(half - random.choice([0.0, 25.0], 3), toward + 20.0)
    size = np.maximum(8, np.ceil((high - low) / spacing)).astype(int)
    origin = middle + direction @ low
    return Grid(tuple(size.tolist()), tuple(spacing), tuple(origin), tuple(direction.flatten()))


def _points(grid: Grid) -> np.ndarray:
    """The voxel centers of a grid, mm, as three rows; the columns in the order of an array (z, y, x)."""
    z, y, x = np.indices(grid.size[::-1]).reshape(3, -1)
    steps = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing)
    return steps @ np.stack([x, y, z]) + np.array(grid.origin)[:, None]


def _center(image: sitk.Image) -> np.ndarray:
    """The center of gravity of an image's values, mm."""
    weights = sitk.GetArrayFromImage(image).ravel().astype(float)
    return _points(Grid.of(image)) @ weights / weights.sum()


def _mark(volume: np.ndarray) -> np.ndarray:
    """The stand-in model: marks what is bright."""
    return np.clip((volume - 0.5) / 0.5, 0.0, 1.0).astype(np.float32)


@pytest.fixture()
def known_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, sitk.AffineTransform]]:
    """Replaces the two searches, registration and N4, by known results; the rest is the real thing."""
    known: dict[str, sitk.AffineTransform] = {}

    def shade(image: sitk.Image, mask: sitk.Image, progress: Quiet, grid: Grid) -> bias.Corrected:
        image = preparation.part_of(image, grid)
        points = _points(grid)
        field = grid.with_array(np.exp(0.002 * (points[0] - points[0].mean())).reshape(grid.size[::-1]).astype("f4"))
        return bias.Corrected(sitk.Cast(image / field, sitk.sitkFloat32), field)

    def place(*_: object) -> registration.Registered:
        return registration.Registered(known["place"], 1.0, True)

    monkeypatch.setattr(preparation.registration, "register", place)
    monkeypatch.setattr(preparation.bias, "correct", shade)
    yield known


def _prepared(case: Case, known: dict[str, sitk.AffineTransform], scan: sitk.Image) -> Prepared:
    known["place"] = case.place
    return prepare(scan, grid=MODEL_GRID, atlas=ATLAS, skull="off", progress=Quiet())


@pytest.mark.parametrize("number", range(CASES))
def test_a_marked_place_comes_back(number: int, known_steps: dict[str, sitk.AffineTransform]) -> None:
    case = Case(number)
    scan = case.scan()
    prepared = _prepared(case, known_steps, scan)

    there = _center(prepared.grid.with_array(_mark(prepared.volume)))
    assert np.abs(there - case.ball_in_atlas).max() < 0.3 * case.coarser_mm

    back = prepared.score_to_native(_mark(prepared.volume))
    assert Grid.of(back) == case.grid == prepared.reference
    assert np.linalg.norm(_center(back) - case.ball) < 0.3 * case.coarser_mm  # one voxel would be 1.0

    mask = sitk.GetArrayFromImage(prepared.native_mask) > 0
    assert not sitk.GetArrayFromImage(back)[~mask].any()
    everywhere = sitk.GetArrayFromImage(prepared.score_to_native(np.ones_like(prepared.volume)))
    assert everywhere[mask].min() > 0.99


@pytest.mark.parametrize("number", range(0, CASES, 5))
def test_intensities_come_back_in_the_scans_own_units(
    number: int, known_steps: dict[str, sitk.AffineTransform]
) -> None:
    case = Case(number)
    scan = case.scan()
    prepared = _prepared(case, known_steps, scan)
    back = prepared.intensity_to_native(prepared.volume)
    assert Grid.of(back) == case.grid
    old, new = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(back)
    mask = sitk.GetArrayFromImage(prepared.native_mask) > 0
    np.testing.assert_array_equal(new[~mask], old[~mask])
    calm = mask & (old < 150)
    assert np.median(np.abs(new - old)[calm]) < 2.0


def test_places_come_back_without_a_common_shift(known_steps: dict[str, sitk.AffineTransform]) -> None:
    """A shift by half a voxel would pass for one scan; over many it cannot hide."""
    shifts = []
    for case in (Case(number) for number in range(0, CASES, 2)):
        prepared = _prepared(case, known_steps, case.scan())
        gap = _center(prepared.score_to_native(_mark(prepared.volume))) - case.ball
        shifts.append(np.array(case.grid.direction).reshape(3, 3).T @ gap / np.array(case.grid.spacing))
    assert np.abs(np.median(shifts, axis=0)).max() < 0.1


@pytest.mark.parametrize(
    ("axes", "signs", "spacing"),
    [((0, 1, 2), (1, 1, 1), (2.0, 2.0, 5.0)), ((2, 0, 1), (-1, 1, -1), (2.5, 2.0, 2.5))],
    ids=["axial, thick slices", "sagittal"],
)
def test_a_marked_place_comes_back_through_the_real_registration(
    axes: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.2, 0.05, -0.1)
    place = sitk.AffineTransform(3)
    place.SetMatrix((np.array(turn.GetMatrix()).reshape(3, 3) @ np.diag([0.9, 0.92, 0.88])).flatten())
    place.SetTranslation((15.0, -20.0, 30.0))
    direction = np.zeros((3, 3))
    direction[list(axes), range(3)] = signs
    middle = np.array(place.TransformPoint((0.0, 18.0, 10.0)))
    size = [round(210 / s) for s in spacing]
    origin = middle - direction @ (np.array(spacing) * size / 2)
    grid = Grid(tuple(size), spacing, tuple(origin), tuple(direction.flatten()))
    ball = np.array(place.TransformPoint((25.0, 30.0, 25.0)))
    brain = sitk.GetArrayFromImage(sitk.Resample(ATLAS.t1, grid.blank(), place.GetInverse()))
    distance = np.linalg.norm(_points(grid) - ball[:, None], axis=0).reshape(grid.size[::-1])
    values = brain + 400.0 * (brain > 0) * np.exp(-0.5 * (distance / 7.0) ** 2)
    grid_of_atlas = Grid((96, 112, 92), (2.0, 2.0, 2.0), (-95.0, -94.0, -76.0))
    prepared = prepare(
        grid.with_array(values.astype(np.float32)), grid=grid_of_atlas, atlas=ATLAS, skull="auto", progress=Quiet()
    )
    assert prepared.registration.ok
    marked = np.clip((prepared.volume - 0.97) / 0.03, 0.0, 1.0)
    back = prepared.score_to_native(marked.astype(np.float32))
    assert np.linalg.norm(_center(back) - ball) < max(2.0, *spacing)
