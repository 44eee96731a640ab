"""The combined anomaly map: what its parts add, what raises it, and what is told of it in a configuration."""

from dataclasses import replace

import numpy as np
import pytest

from conddiffusion_uad.method import parts
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS, closing
from conddiffusion_uad.method.anomaly_map.closing import closed
from conddiffusion_uad.method.anomaly_map.combined import Combined, filled
from conddiffusion_uad.method.anomaly_map.extent import enlarged
from conddiffusion_uad.method.anomaly_map.guided import guided
from conddiffusion_uad.method.anomaly_map.learned import Learned
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.protocol.failures import BundleFailure


def healthy_values(learned: float, residual: float) -> dict[str, object]:
    """Maps of which a healthy brain has these values in one of ten, and ten times as large in one of 100, voxels."""
    curves = {"learned": learned, "residual": residual}
    return {name: {"scores": [1.0, 2.0], "residuals": [v, 10 * v], "scans": 1} for name, v in curves.items()}


def test_a_combined_map_adds_what_each_finds_unusual_by_its_weight(scene):
    restored, model = scene
    residual, shown = {"sign": "hyperintense", "smoothing": "none"}, {"reconstructed": False}
    options = {"residual": residual, "learned": shown, "filled": False}
    learned = Learned(reconstructed=False)(restored, model)
    with pytest.raises(BundleFailure, match="healthy brains"):
        Combined(**options)(restored, model)
    # half of the residual's .5 is one of ten healthy voxels: a score of 1 + .25 / 2.25
    healthy = healthy_values(float(learned[2, 20, 20]), 0.25)
    plain = Combined(**options, healthy=healthy, residual_weight=0, intensity_weight=0)(restored, model)
    assert plain[2, 20, 20] == pytest.approx(1, abs=1e-3) and not plain[~restored.mask].any()
    found = Combined(**options, healthy=healthy, residual_weight=2, intensity_weight=0)(restored, model)
    rise = found - plain
    assert np.allclose(rise[2][8:56, 8:56], 2 * (1 + 0.25 / 2.25), atol=1e-3), "a residual of .5 there"
    assert np.allclose(rise[1], 0, atol=1e-3), "no residual there"
    assert found.dtype == np.float32


@pytest.mark.parametrize("sign", ["hyperintense", "hypointense", "absolute"])
def test_the_brain_itself_says_how_unusual_an_intensity_is(scene, sign):
    """Of 12 of 12,288 voxels unlike all others, each is as unusual as one of 1,024."""
    restored, model = scene
    volume = np.random.default_rng(0).uniform(0.45, 0.55, restored.mask.shape).astype(np.float32) * restored.mask
    volume[2, 30, 10:22] = {"hyperintense": 0.9, "hypointense": 0.1, "absolute": 0.1}[sign]
    scan = replace(restored, brain=Volume(volume, restored.mask, restored.grid))
    options = {"residual": {"sign": sign}, "learned": {"reconstructed": False}, "filled": False}
    options["healthy"] = healthy_values(1.0, 1.0)
    with_it, without = (Combined(**options, intensity_weight=w)(scan, model) for w in (1, 0))
    assert np.allclose((with_it - without)[2, 30, 10:22], np.log10(12288 / 6), atol=0.03)
    assert np.median((with_it - without)[restored.mask]) == pytest.approx(np.log10(2), abs=0.02)


def test_what_is_enclosed_in_a_slice_is_raised_to_what_encloses_it(scene):
    found = np.zeros((3, 12, 12), np.float32)
    found[:2, 2:9, 2:9], found[:2, 3:8, 3:8] = 5, 1  # two rims
    found[0, 2, 5], found[1, 2, 2] = 3, 0  # with a thinner place, and a gap at the corner
    found[2, 4:6, 4:6] = 2
    made = filled(found)
    assert (made[0, 3:8, 3:8] == 3).all() and np.array_equal(made[0] > found[0], found[0] == 1)
    assert np.array_equal(made[1:], found[1:]), "diagonal steps lead out of the second; the third encloses nothing"


def test_a_combined_map_fills_inside_the_brain_alone(scene):
    restored, model = scene
    mask = np.zeros_like(restored.mask)
    mask[1:3, 6:60, 4:50] = True
    mask[2, 30:34, 30:34] = False  # a gap in the mask, which the brain encloses
    gap = replace(restored, brain=Volume(restored.volume * mask, mask, restored.grid))
    options = {"residual": {"sign": "hyperintense"}, "learned": {"reconstructed": False}}
    options["healthy"] = healthy_values(0.5, 0.25)
    plain, found, both = (
        Combined(**options, filled=fill, guided_mm=mm)(gap, model) for fill, mm in ((False, 0), (True, 0), (True, 10))
    )
    assert (found >= plain).all() and (found > plain).any() and not found[~mask].any()
    assert np.array_equal(found, np.where(mask, filled(plain), 0)), "looking at the brain's box alone changes nothing"
    fit = guided(plain, gap.volume, mask, (5, 10, 10))
    assert np.allclose(both, np.where(mask, filled(np.maximum(plain, fit)), 0), atol=1e-5)


def test_a_brain_of_no_voxels_has_an_empty_map(scene):
    restored, model = scene
    none = np.zeros_like(restored.mask)
    empty = replace(restored, brain=Volume(restored.volume * none, none, restored.grid))
    options = {"residual": {}, "learned": {"reconstructed": False}, "healthy": healthy_values(0.5, 0.25)}
    assert not Combined(**options, guided_mm=10)(empty, model).any()


def test_a_combined_map_is_raised_to_what_the_intensities_tell(scene):
    restored, model = scene
    options = {"residual": {"sign": "hyperintense"}, "learned": {"reconstructed": False}, "filled": False}
    options["healthy"] = healthy_values(0.5, 0.25)
    plain, found = (Combined(**options, guided_mm=mm)(restored, model) for mm in (0, 10))
    reach = [round(10 / mm) for mm in reversed(restored.grid.spacing)]
    assert np.allclose(found, np.maximum(plain, guided(plain, restored.volume, restored.mask, reach)))
    assert (found > plain).any() and len(set(reach)) == 2, "as far in millimeters along each axis"


def test_what_is_large_in_a_combined_map_is_raised_last(scene):
    restored, model = scene
    options = {"residual": {"sign": "hyperintense"}, "learned": {"reconstructed": False}, "guided_mm": 10}
    options["healthy"] = healthy_values(0.05, 0.02)
    plain, found = (Combined(**options, extent=power)(restored, model) for power in (0, 0.5))
    assert np.allclose(found, enlarged(plain, np.prod(restored.grid.spacing) / 1000, 0.5), atol=1e-5)
    assert (found > plain).any()


def test_gaps_in_a_combined_map_are_closed_after_that(scene, monkeypatch):
    monkeypatch.setattr(closing, "MOST_SHARE", 1.0)  # of the scene's brain, most is unusual
    restored, model = scene
    options = {
        "residual": {"sign": "hyperintense"},
        "learned": {"reconstructed": False},
        "filled": False,
        "extent": 0.5,
    }
    options["healthy"] = healthy_values(0.05, 0.02)
    mask = np.zeros_like(restored.mask)
    mask[1:3, 6:60, 4:50] = True
    restored = replace(restored, brain=Volume(restored.volume * mask, mask, restored.grid))
    plain, found = (Combined(**options, closing=reach)(restored, model) for reach in (0, 1))
    assert np.array_equal(found, closed(plain, mask, restored.grid.spacing, 1)) and (found > plain).any()


def test_a_combined_map_is_read_and_written_and_refuses_what_its_maps_do_not_know():
    healthy = healthy_values(1.0, 0.1)
    values = {"kind": "combined", "residual": {"sign": "hypointense"}, "learned": {"twice": True}, "healthy": healthy}
    part = parts.read(ANOMALY_MAPS, values, "anomaly_map.T1")
    assert part == Combined({"sign": "hypointense"}, {"twice": True}, healthy) and part.spacing == Learned().spacing
    assert parts.written(ANOMALY_MAPS, part) == values | {
        "residual_weight": 0.5,
        "intensity_weight": 0.5,
        "filled": True,
        "guided_mm": 0.0,
        "extent": 0.0,
        "closing": 0.0,
        "location_prior": "",
    }
    assert isinstance(part, parts.Learned)
    decreasing = {"scores": [2, 1], "residuals": [1, 2], "scans": 1}
    for wrong in (
        {"residual": {"sing": 1}},
        {"residual": {"sign": "x"}},
        {"learned": {"thrice": True}},
        {"residual_weight": -1},
        {"intensity_weight": float("nan")},
        {"guided_mm": -1},
        {"guided_mm": float("nan")},
        {"extent": -0.1},
        {"extent": float("nan")},
        {"closing": -0.1},
        {"closing": 1.1},
        {"closing": float("nan")},
        {"healthy": {"learned": healthy["learned"]}},
        {"healthy": {**healthy, "residual": {}}},
        {"healthy": {**healthy, "residual": decreasing}},
        {"healthy": {**healthy, "residual": 3}},
    ):
        with pytest.raises(ValueError, match=r"anomaly_map\.T1"):
            parts.read(ANOMALY_MAPS, {**values, **wrong}, "anomaly_map.T1")


def test_healthy_values_are_measured_inside_the_brain_of_every_scan():
    rng = np.random.default_rng(1)
    masks = [rng.random((4, 40, 40)) > 0.5 for _ in range(3)]
    scans = [({name: np.where(m, rng.random(m.shape), 9) for name in ("learned", "residual")}, m) for m in masks]
    known = Combined.measured(scans)
    for name in ("learned", "residual"):
        assert known[name]["scans"] == 3 and max(known[name]["residuals"]) <= 1 + 1e-3
    assert Combined(residual={}, healthy=known).healthy == known
