"""The learned anomaly map: its channels, its network, and what it does with a whole scan."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_model import tiny_config, trained

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method import parts
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS
from conddiffusion_uad.method.anomaly_map import learned_inputs as given
from conddiffusion_uad.method.anomaly_map.combined import Combined, filled
from conddiffusion_uad.method.anomaly_map.guided import guided
from conddiffusion_uad.method.anomaly_map.learned import Learned, LearnedMap
from conddiffusion_uad.method.anomaly_map.learned_network import LearnedMapNetwork
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.failures import BundleFailure

SHAPE = (6, 64, 96)


@pytest.fixture(scope="module")
def network() -> LearnedMapNetwork:
    torch.manual_seed(0)
    made = LearnedMapNetwork(given.FINE_CHANNELS, given.COARSE_CHANNELS, (8, 16, 16), detail=8).eval()
    with torch.no_grad():  # an untrained network hardly tells voxels apart
        made.head[-1].weight *= 30
        made.head[-1].bias.zero_()
    return made


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, bool)
    mask[1:, 8:56, 16:80] = True
    return np.where(mask, rng.random(SHAPE), 0).astype(np.float32), mask


def place() -> torch.Tensor:
    axes = (torch.arange(SHAPE[0]) * 2.0, torch.arange(SHAPE[1] // 2) * 2.0, torch.arange(SHAPE[2] // 2) * 2.0)
    return given.atlas_place(*axes, torch.rand(given.PRIORS, 4, 8, 8, generator=torch.Generator().manual_seed(1)))


def channels(scan, contrast="T2", where=True) -> given.SliceInputs:
    volume, mask = map(torch.from_numpy, scan)
    rank = given.ranks(volume, volume[mask]) * mask
    return given.slice_inputs(volume, rank, mask, torch.arange(2, 4), contrast, place() if where else None)


def test_the_channels_are_what_they_are_called(scan):
    made, volume = channels(scan), torch.from_numpy(scan[0])
    assert made.fine.shape == (2, given.FINE_CHANNELS, 64, 96)
    assert made.coarse.shape == (2, given.COARSE_CHANNELS, 32, 48)
    for k, expected in enumerate((volume[1], volume[2], volume[3], volume[2].flip(-1))):
        assert torch.equal(made.fine[0, k], expected)
    assert torch.allclose(made.coarse[0, 0], torch.nn.functional.avg_pool2d(volume[None, 0], 2)[0])
    assert made.coarse[:, 2:5, 0, 0].tolist() == [[0, 1, 0]] * 2
    assert torch.equal(made.coarse[:, 5:12], place()[:, 2:4].transpose(0, 1))


def test_what_is_unknown_is_zero(scan):
    made = channels(scan, None, where=False)
    assert not made.coarse[:, 2:].any()


def test_the_rank_is_uniform_in_the_brain(scan):
    rank = channels(scan).fine[0, 4].numpy()[scan[1][2]]
    assert np.quantile(rank, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    assert not channels(scan).fine[0, 4].numpy()[~scan[1][2]].any()


def test_reconstructions_fill_their_channels_and_no_others(scan):
    plain = channels(scan)
    samples = torch.stack([torch.full((2, 1, 32, 48), 0.2), torch.full((2, 1, 32, 48), 0.4)])
    known = given.with_reconstruction(plain, samples)
    assert torch.equal(known.coarse[:, : -given.RECONSTRUCTED], plain.coarse[:, : -given.RECONSTRUCTED])
    assert not plain.coarse[:, -given.RECONSTRUCTED :].any()
    mean, difference, spread, flag = known.coarse[0, -given.RECONSTRUCTED :, 16, 24]
    scan_there = torch.nn.functional.avg_pool2d(plain.fine[:, 1:2], 2)[0, 0, 16, 24]
    assert [float(mean), float(spread), float(flag)] == pytest.approx([0.3, 0.8, 1.0])
    assert float(difference) == pytest.approx(4 * (float(scan_there) - 0.3), abs=1e-5)
    assert not known.coarse[:, -4:-1, 0, 0].any(), "outside the brain nothing is known"


def test_full_size_detail_reaches_the_output(network, scan):
    """Two inputs that are the same at half size give different maps."""
    made = channels(scan)
    board = 0.05 * ((torch.arange(64)[:, None] + torch.arange(96)) % 2 * 2.0 - 1)
    with torch.inference_mode():
        plain, changed = (network(fine, made.coarse) for fine in (made.fine, made.fine + board))
    assert plain.shape == (2, 1, 64, 96) and float((plain - changed).abs().max()) > 1e-3


def test_every_input_channel_can_change_the_output(network):
    fine = torch.zeros(1, given.FINE_CHANNELS, 32, 32, requires_grad=True)
    coarse = torch.zeros(1, given.COARSE_CHANNELS, 16, 16, requires_grad=True)
    network(fine + 0.1, coarse + 0.1).sum().backward()
    assert fine.grad.abs().sum((0, 2, 3)).min() > 0 and coarse.grad.abs().sum((0, 2, 3)).min() > 0


def test_a_scan_is_scored_inside_its_brain_only(network, scan):
    found = LearnedMap(network, place())(*scan, "T2")
    assert found.shape == SHAPE and found.dtype == np.float32
    assert not found[~scan[1]].any() and found[scan[1]].min() > 0 and found.max() < 1 and found[scan[1]].std() > 0.05


def test_a_mirrored_scan_gets_the_mirrored_map(network, scan):
    made = LearnedMap(network, place() * 0)
    mirrored = made(scan[0][..., ::-1].copy(), scan[1][..., ::-1].copy(), "T2")
    assert np.abs(mirrored[..., ::-1] - made(*scan, "T2")).mean() < 0.005 < 0.1 * mirrored[scan[1]].std()


def test_the_batch_does_not_matter(network, scan):
    maps = [LearnedMap(network, place(), batch=batch)(*scan, "T1") for batch in (1, 4)]
    assert np.allclose(*maps, atol=0.04)


def test_single_slices_do_not_see_each_other(network, scan):
    made, heights = LearnedMap(network, place()), np.full(SHAPE[0], 3)
    together = made(*scan, "FLAIR", heights=heights, single=True)
    alone = made(scan[0][2:3], scan[1][2:3], "FLAIR", heights=heights[:1], single=True)
    assert np.allclose(together[2:3], alone, atol=0.04)
    assert not np.allclose(together, made(*scan, "FLAIR", heights=heights), atol=0.1)


def test_a_grid_of_any_size_is_scored(network, scan):
    """Rows and columns that the network cannot halve often enough are added and taken away again."""
    found = LearnedMap(network, place()[..., :28, :44])(scan[0][:, :56, :88], scan[1][:, :56, :88], "T2")
    assert found.shape == (6, 56, 88) and found[scan[1][:, :56, :88]].min() > 0


def test_as_a_part_of_a_method_it_sees_the_scan_at_one_millimeter():
    """Of a brain on a grid of 2 mm it makes a map with pixels of 1 mm, from the samples as they were computed."""
    grid = Grid((32, 32, 4), (2.0, 2.0, 2.0), (-31.0, -15.0, 0.0))
    rng, mask = np.random.default_rng(0), np.zeros((4, 32, 32), bool)
    mask[:, 4:28, 4:28] = True
    volume = np.where(mask, rng.random(mask.shape), 0).astype(np.float32)
    restored = Restored(Volume(volume, mask, grid), "FLAIR", np.stack([volume, volume]) * 0.5, 4)
    part = Learned()
    model = SimpleNamespace(networks={part.weights: part.build().eval()})
    seen = restored.at(part.spacing)
    found = part(seen, model)
    assert seen.grid.spacing == (1.0, 1.0, 2.0) and found.shape == (4, 64, 64)
    assert found[seen.mask].min() > 0 and not found[~seen.mask].any()
    with torch.no_grad():  # what is computed decides, not what is interpolated
        other = replace(seen, samples=seen.samples * 0)
        assert np.array_equal(part(other, model), found)
    with pytest.raises(ValueError, match="where the voxels lie"):
        part(Restored(Volume(volume, mask), "FLAIR", volume[None], 4), model)


@pytest.fixture
def scene():
    """A scan at 1 mm with reconstructions at 2 mm, darker by half in two slices, and a network sure of itself."""
    fine = Grid((64, 64, 4), (1.0, 1.0, 2.0), (-31.5, -15.5, 0.0))
    coarse = Grid((32, 32, 4), (2.0, 2.0, 2.0), (-31.0, -15.0, 0.0))
    mask = np.ones((4, 64, 64), bool)
    mask[0] = False
    volume = np.where(mask, 0.8, 0).astype(np.float32)
    samples = np.stack([volume[:, ::2, ::2]] * 2)
    samples[:, 2:] -= 0.5
    origin = Restored(Volume(volume[:, ::2, ::2], mask[:, ::2, ::2], coarse), "T2", samples, 4)
    torch.manual_seed(0)
    weights = Learned().build().eval()
    with torch.no_grad():
        weights.network.head[-1].weight *= 30
        weights.network.head[-1].bias.fill_(3.0)
    restored = Restored(Volume(volume, mask, fine), "T2", volume[None], 4, origin)
    return restored, SimpleNamespace(networks={"learned_map": weights})


def test_opinions_with_and_without_reconstructions_are_averaged_and_not_bounded_by_one(scene):
    both, known, plain = (part(*scene) for part in (Learned(twice=True), Learned(), Learned(reconstructed=False)))
    assert np.allclose(both, (known + plain) / 2, atol=1e-6) and np.abs(known - plain).max() > 1e-3
    assert both.max() > 1, "a probability above 1 - 1 / e"


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


def test_it_is_found_by_its_name_in_a_configuration():
    part = parts.read(ANOMALY_MAPS, {"kind": "learned", "mirrored": False}, "anomaly_map.T1")
    assert part == Learned(mirrored=False) and parts.written(ANOMALY_MAPS, part)["kind"] == "learned"
    assert isinstance(part, parts.Learned)


def test_a_bundle_keeps_it_and_scores_with_it(tmp_path):
    """From the configuration through files to a map at 1 mm, the same before and after."""
    grid = Grid((32, 32, 4), (2.0, 2.0, 2.0), (-31.0, -15.0, 0.0))
    config = replace(tiny_config(anomaly_map={"T2": Learned()}), grid=grid)
    torch.manual_seed(0)
    model = trained(config.build())
    model.networks["learned_map"].priors.uniform_(0, 1)
    bundles.save(tmp_path, config, model)
    bundle = bundles.load(str(tmp_path))
    mask = np.zeros((4, 32, 32), bool)
    mask[:, 4:28, 4:28] = True
    volume = np.where(mask, np.random.default_rng(0).random(mask.shape), 0).astype(np.float32)
    found = score(bundle.to("cpu"), Volume(volume, mask, grid), "T2")
    assert found.grid.spacing == (1.0, 1.0, 2.0) and found.anomaly_map.shape == (4, 64, 64)
    half = {name: value.half().float() for name, value in model.state_dict().items()}
    model.load_state_dict(half)
    assert np.allclose(config.method.anomaly_map["T2"](found.seen, model), found.anomaly_map, atol=0.02)
