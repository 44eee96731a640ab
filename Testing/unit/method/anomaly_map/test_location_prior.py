"""The location prior: what healthy maps say of a place, how it is kept, and where it is taken off."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.combined import Combined
from conddiffusion_uad.method.anomaly_map.location_prior import PLACES, SHARE, STEP, LocationPrior

FINE = Grid((160, 192, 80), (1.0, 1.0, 2.0), (-79.5, -79.5, -75.0))
OFTEN = (26.0, -10.0, 4.0)  # LPS mm


def healthy(height: float, at: tuple[float, float, float] = OFTEN) -> tuple[np.ndarray, Grid]:
    """A map that is 1 in the brain, and higher within 12 mm of a place."""
    x, y, z = (o + s * np.arange(n) for o, s, n in zip(FINE.origin, FINE.spacing, FINE.size, strict=True))
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    inside = (x / 70) ** 2 + (y / 75) ** 2 + (z / 65) ** 2 < 1
    near = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < 12**2
    return np.where(near, height, inside).astype(np.float32), FINE


@pytest.fixture(scope="module")
def prior() -> LocationPrior:
    return LocationPrior.measure([healthy(1.0), healthy(4.0), healthy(3.0)])


def at(prior: LocationPrior, point: tuple[float, float, float], grid: Grid = FINE) -> float:
    x, y, z = grid.index(point)
    return float(prior.at(grid)[z, y, x])


def test_a_share_of_what_the_highest_of_healthy_brains_has_above_the_usual_is_taken_off(prior):
    assert at(prior, OFTEN) == pytest.approx(SHARE * (4 - 1), abs=0.05)
    assert at(prior, (-20.0, 40.0, 4.0)) == 0 == at(prior, (-78.0, -78.0, -70.0))


def test_both_sides_are_alike(prior):
    taken = prior.at(FINE)
    assert np.allclose(taken, taken[..., ::-1], atol=1e-5) and at(prior, (-26.0, *OFTEN[1:])) == at(prior, OFTEN)


def test_it_lies_where_it_is_on_every_grid_of_the_atlas(prior):
    part = Grid((60, 70, 30), (1.0, 1.0, 2.0), (-3.5, -50.5, -27.0))
    first = FINE.index(part.origin)
    box = tuple(slice(f, f + n) for f, n in zip(first[::-1], part.size[::-1], strict=True))
    assert np.allclose(prior.at(part), prior.at(FINE)[box], atol=1e-5) and prior.at(part).max() > 1
    found = healthy(4.0)[0]
    cut = np.zeros_like(found)
    cut[box] = found[box]
    pairs = zip(*(LocationPrior.measure([each]).lowered for each in ((found[box], part), (cut, FINE))), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs), "measured on a part of the grid, too"


def test_a_configuration_keeps_it_as_text(prior):
    text = prior.to_text()
    assert np.array_equal(LocationPrior.from_text(text).lowered, prior.lowered) and len(text) < 4000
    short, long = (base64.b64encode(zlib.compress(bytes(n))).decode() for n in (10, 10**8))
    for damaged in (text[:-8], "?" + text, short, long):
        with pytest.raises(ValueError, match="location prior"):
            Combined(residual={"sign": "absolute"}, location_prior=damaged)


def test_nothing_is_made_of_nothing():
    for maps in ([], [(np.zeros(FINE.size[::-1], np.float32), FINE)]):
        with pytest.raises(ValueError, match="location prior"):
            LocationPrior.measure(maps)


def test_a_combined_map_is_lowered_by_it_and_never_below_zero(scene):
    restored, model = scene
    values = {"scores": [1.0, 2.0], "residuals": [0.1, 1.0], "scans": 1}
    plain = Combined(
        residual={"sign": "hyperintense"},
        learned={"reconstructed": False},
        healthy={"learned": values, "residual": values},
    )
    lowered = np.zeros((PLACES.size[2], PLACES.size[1], PLACES.size[0] // 2), np.uint8)
    lowered[:, 24:] = round(0.5 / STEP)
    lowered[:, :, 4:] = 255
    found, less = (
        replace(plain, location_prior=text)(restored, model) for text in ("", LocationPrior(lowered).to_text())
    )
    taken = LocationPrior(lowered).at(restored.grid)
    assert np.allclose(less, np.maximum(found - taken, 0), atol=1e-5)
    assert (less == 0)[restored.mask].any() and ((less > 0) & (less < found)).any() and (less == found)[:, :20].any()
    assert less.dtype == np.float32
