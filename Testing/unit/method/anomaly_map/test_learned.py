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
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS, learned
from conddiffusion_uad.method.anomaly_map import learned_inputs as given
from conddiffusion_uad.method.anomaly_map.learned import Learned, LearnedMap
from conddiffusion_uad.method.anomaly_map.learned_network import LearnedMapNetwork
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import score

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


def test_opinions_with_and_without_reconstructions_are_averaged_and_not_bounded_by_one(scene):
    both, known, plain = (part(*scene) for part in (Learned(twice=True), Learned(), Learned(reconstructed=False)))
    assert np.allclose(both, (known + plain) / 2, atol=1e-6) and np.abs(known - plain).max() > 1e-3
    assert both.max() > 1, "a probability above 1 - 1 / e"


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


def test_the_mirrored_scan_can_be_registered_to_the_scan(scene, monkeypatch):
    """What the network is shown beside the scan is then what `mirror.registered` gives, and the map another."""
    restored, model = scene
    rng = np.random.default_rng(0)
    scan = replace(
        restored,
        brain=Volume(rng.random(restored.mask.shape, np.float32) * restored.mask, restored.mask, restored.grid),
    )
    plain = Learned()(scan, model)
    assert np.array_equal(Learned(registered=True)(scan, model), plain), "two slices cannot be registered"
    monkeypatch.setattr(learned, "registered", lambda volume, mask, grid: volume * 0)
    assert np.abs(Learned(registered=True)(scan, model) - plain).max() > 1e-3
