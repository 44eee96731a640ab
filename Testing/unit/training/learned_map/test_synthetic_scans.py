"""Synthetic scans as a whole: reproducible, labeled where they were changed, nothing outside the brain."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads

from conddiffusion_uad.training.data import acquisition, signal_equations, usual_intensities
from conddiffusion_uad.training.data.acquisition import Acquisition
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.healthy_sources import GRAY, VENTRICLE, LabelSource
from conddiffusion_uad.training.data.lattice import Lattice, SmoothField, blurred
from conddiffusion_uad.training.learned_map import scans
from conddiffusion_uad.training.learned_map.batches import SCANS, SLICES, Batches
from conddiffusion_uad.training.learned_map.material import Material, priors
from conddiffusion_uad.training.learned_map.scans import synthesize
from conddiffusion_uad.training.synthetic_anomalies import draws, look_alikes
from conddiffusion_uad.training.synthetic_anomalies.fade import Fade
from conddiffusion_uad.training.synthetic_anomalies.place import Places


@pytest.fixture(scope="module")
def labels():
    return head()


def made(labels, seed, contrast="FLAIR", count=2):
    return synthesize(labels, contrast, [], np.random.default_rng(seed), count)


def slab_of(labels, contrast, rng):
    """A scan of label maps, a lattice of some of its slices, and the healthy tissue there."""
    scan = scans.Scan(LabelSource(labels, signal_equations.draw(contrast, rng, 0.0)), False, rng)
    grid = Lattice(scans.axis(2)[30:50], scans.axis(1), scans.axis(0))
    return scan, grid, scan.healthy(grid, [])


def test_the_same_seed_makes_the_same_scan_and_another_one_another(labels):
    first, second, third = made(labels, 3), made(labels, 3), made(labels, 4)
    assert torch.equal(first.volume, second.volume) and torch.equal(first.label, second.label)
    assert not torch.equal(first.volume, third.volume)


def test_most_label_maps_have_usual_intensities_and_folia(labels, monkeypatch):
    made = []
    monkeypatch.setattr(scans, "LabelSource", lambda inputs, palette, folia: made.append((palette, folia)))
    monkeypatch.setattr(usual_intensities, "draw", lambda contrast, rng: f"usual {contrast}")
    rng = np.random.default_rng(0)
    for contrast in ("T1", "T2", "FLAIR", "random"):
        made.clear()
        for _ in range(200):
            scans._labels(labels, contrast, rng)
        usual = np.mean([palette == f"usual {contrast}" for palette, _ in made])
        assert usual == 0 if contrast == "random" else 0.5 < usual < 0.7
        assert 0.75 < np.mean([folia is not None for _, folia in made]) < 0.95


def test_folia_are_seen_in_a_scan(labels):
    """The lowest slices of the made-up head are cerebellar cortex: the same scan with and without them."""
    tissues = []
    for folia in (None, Folia(4.0, 0.5, 0.5, ())):
        rng = np.random.default_rng(1)
        source = LabelSource(labels, signal_equations.draw("T1", rng, 0.0), folia)
        scan = scans.Scan(source, False, rng)
        grid = Lattice(scans.axis(2)[8:12], scans.axis(1), scans.axis(0))
        healthy = scan.healthy(grid, [])
        tissues.append(healthy.image[healthy.tissue == GRAY])
    assert len(tissues[0]) > 1000 and tissues[1].std() > 2 * tissues[0].std()


def test_nothing_lies_outside_the_brain(labels):
    for seed in range(6):
        slab = made(labels, seed, ("T1", "T2", "FLAIR")[seed % 3])
        assert not slab.volume[~slab.mask].any() and not slab.rank[~slab.mask].any()
        assert not slab.label[~slab.mask].any() and not slab.weight[~slab.mask].min() < 0
        assert float(slab.volume.min()) >= 0 and float(slab.volume.max()) <= 1


def test_the_label_is_where_the_scan_was_changed(labels):
    """Before acquisition and normalization: every labeled voxel changed visibly, every visible change is labeled."""
    rng = np.random.default_rng(1)
    scan, grid, healthy = slab_of(labels, "T2", rng)
    labeled = 0
    for _ in range(12):
        anomalies, _ = draws.draw(scan.palette, Places(healthy.tissue, grid), [], rng)
        image, label = scan.changed(healthy, grid, anomalies)
        change = (image - healthy.image).abs() / scan.spread
        assert not change[label == 0].gt(0.6).any(), "a sum of changes too small to count each"
        assert not (label > 0.4)[healthy.tissue == 0].any()
        if len(anomalies) == 1 and not anomalies[0].whole:  # a later one may undo an earlier one
            assert not (change[label > 0] <= 0.25).any()
        labeled += int((label > 0.4).sum())
    assert labeled > 100


def test_an_anomaly_counts_by_how_visible_it_is_and_all_else_as_one(labels, monkeypatch):
    assert scans._visible(torch.tensor([0.0, 0.2, 0.4, 2.0])).tolist() == pytest.approx([0.15, 0.3625, 1, 1])
    monkeypatch.setattr(draws, "_KINDS", {"small": 1.0})
    slabs = [made(labels, seed, "FLAIR") for seed in range(6)]
    assert all((slab.weight[~slab.label] == 1).all() for slab in slabs)
    counted = torch.cat([slab.weight[slab.label] for slab in slabs])
    assert counted.min() < 1 == counted.max()


def test_anomalies_on_t1_are_plain_to_see(labels):
    rng = np.random.default_rng(4)
    opacities = {}
    for contrast in ("T1", "FLAIR"):
        scan, grid, healthy = slab_of(labels, contrast, rng)
        places = Places(healthy.tissue, grid)
        drawn = [each for _ in range(30) for each in draws.draw(scan.palette, places, [], rng)[0]]
        found = [each for each in drawn if each.fade.field is not None]  # all but tumors
        opacities[contrast] = min(each.fade.low for each in found)
        darker = np.mean([each.value < scan.palette.gray for each in found])
        assert darker > 0.85 if contrast == "T1" else darker < 0.3
    assert opacities["FLAIR"] < 0.3 < 0.7 <= opacities["T1"]


@pytest.mark.parametrize(("kind", "most"), [("tumor", 4), ("large", 1)])
def test_a_large_one_counts_wherever_it_replaced_tissue_even_if_as_bright(kind, most, labels, monkeypatch):
    monkeypatch.setattr(draws, "_KINDS", {kind: 1.0})
    rng = np.random.default_rng(2)
    scan, grid, healthy = slab_of(labels, "FLAIR", rng)
    unchanged = 0
    for _ in range(12):
        anomalies, pushes = draws.draw(scan.palette, Places(healthy.tissue, grid), [], rng)
        assert 1 <= len(anomalies) <= most and len(pushes) <= 2 and all(part.whole for part in anomalies)
        image, label = scan.changed(healthy, grid, anomalies)
        for part in anomalies:
            found = part.shape.on(grid)
            if found is None:
                continue
            where, share = found
            allowed = torch.isin(healthy.tissue[where].int(), torch.tensor(part.groups, dtype=torch.int32))
            box = Lattice(*(axis[s] for axis, s in zip(grid.axes, where, strict=True)))
            assert (label[where] >= share * allowed * (part.fade.on(box) >= 0.25)).all()
        still = (image - healthy.image).abs() < 0.05 * scan.spread
        unchanged += int((still & (label > 0.4)).sum())
    assert unchanged > 100


def test_where_a_large_one_is_hardly_there_it_does_not_count(labels, monkeypatch):
    monkeypatch.setattr(draws, "_KINDS", {"large": 1.0})
    rng = np.random.default_rng(2)
    scan, grid, healthy = slab_of(labels, "FLAIR", rng)
    for _ in range(12):
        (anomaly,), _ = draws.draw(scan.palette, Places(healthy.tissue, grid), [], rng)
        faint = replace(anomaly, value=scan.palette.gray, fade=Fade(None, 0.2, 0.2), core=None, halo=None)
        _, label = scan.changed(healthy, grid, [faint])
        assert not label.any()


def test_an_infiltrating_tumor_leaves_what_it_grows_through_to_be_seen(labels, monkeypatch):
    monkeypatch.setattr(draws, "_KINDS", {"tumor": 1.0})
    kept = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(draws, "_INFILTRATING", share)
        rng = np.random.default_rng(2)
        scan, grid, healthy = slab_of(labels, "FLAIR", rng)
        found = [draws.draw(scan.palette, Places(healthy.tissue, grid), [], rng)[0] for _ in range(12)]
        kept.append([1 - part.fade.high for anomalies in found for part in anomalies])
    assert max(kept[0]) <= 0.25 < 0.3 <= min(kept[1])


def test_wide_ventricles_and_sulci_are_healthy(labels, monkeypatch):
    monkeypatch.setattr(draws, "_KINDS", {"none": 1.0})
    rng = np.random.default_rng(2)
    scan, grid, healthy = slab_of(labels, "T2", rng)
    places, sizes = Places(healthy.tissue, grid), []
    for _ in range(12):
        pushes = look_alikes.widened(places, rng)
        sizes.append(int((scan.healthy(grid, pushes).tissue == VENTRICLE).sum()) if pushes else None)
    own = int((healthy.tissue == VENTRICLE).sum())
    changed = [size / own for size in sizes if size is not None]
    assert 0 < len(changed) < 12 and max(changed) > 1.3 and np.mean(changed) > 1
    monkeypatch.setattr(look_alikes, "_WIDENED", [(kind, 1.0, *rest) for kind, _, *rest in look_alikes._WIDENED])
    with_it = made(labels, 3, "T2")
    monkeypatch.setattr(look_alikes, "_WIDENED", [])
    assert not with_it.label.any() and not torch.equal(with_it.volume, made(labels, 3, "T2").volume)


@pytest.mark.parametrize("kind", ["large", "real"])
def test_tissue_is_drawn_to_an_old_stroke_and_a_ventricle_beside_it_is_wide(kind, labels, monkeypatch):
    monkeypatch.setattr(draws, "_KINDS", {kind: 1.0})
    monkeypatch.setattr(draws, "_OLD", 1.0)
    rng = np.random.default_rng(2)
    scan, grid, healthy = slab_of(labels, "T2", rng)
    places = Places(healthy.tissue, grid)

    def ventricle(pushes):
        return int((scan.healthy(grid, pushes).tissue == VENTRICLE).sum())

    stroke = [(torch.ones(30, 30, 30, dtype=torch.uint8), (-10.0, 0.0, 25.0))]  # beside the ventricle
    drawn = [draws.draw(scan.palette, places, stroke, rng)[1] for _ in range(20)]
    old = [pushes for pushes in drawn if any(push.strength < 0 for push in pushes)]
    assert len(old) > 3
    beside = [pushes for pushes in old if len(pushes) == 2]
    assert beside and all(shrunken.strength < 0 < wide.strength for shrunken, wide in beside)
    sizes = np.array([[ventricle(pushes), ventricle(pushes[:1])] for pushes in beside])
    assert (sizes[:, 0] > sizes[:, 1]).all() and sizes[:, 0].mean() > ventricle([])


def test_a_pulsating_vessel_repeats_itself_faintly_in_a_row(labels):
    rng = np.random.default_rng(3)
    scan, grid, healthy = slab_of(labels, "FLAIR", rng)
    copies = look_alikes._pulsating(scan.palette, Places(healthy.tissue, grid), rng)
    steps = np.diff([copy.shape.center for copy in copies], axis=0)
    assert (np.count_nonzero(steps, axis=1) == 1).all(), "along one axis"
    assert not any(copy.counts for copy in copies) and max(copy.fade.high for copy in copies) <= 0.25
    assert {np.sign(copy.value - scan.palette.gray) for copy in copies} == {-1, 1}


def test_look_alikes_are_not_labeled(labels, monkeypatch):
    monkeypatch.setattr(draws, "_KINDS", {"none": 1.0})
    monkeypatch.setattr(look_alikes, "draw", _all_look_alikes(look_alikes.draw))
    for seed in range(4):
        assert not made(labels, seed, "T2").label.any()


def _all_look_alikes(drawn):
    """Look-alikes of as many draws as it takes to have some of them."""

    def draw(palette, places, rng):
        found = [anomaly for _ in range(6) for anomaly in drawn(palette, places, rng)]
        assert found and not any(anomaly.counts for anomaly in found)
        return found

    return draw


def test_a_single_slice_is_its_own_neighbor():
    slab = synthesize(slices_of_heads(), "FLAIR", [], np.random.default_rng(0), 1, 1)
    assert slab.volume.shape[0] == 5 and all(torch.equal(slab.volume[0], other) for other in slab.volume)


def test_thick_slices_keep_the_mean_and_blur_through_plane():
    z = torch.arange(0, 24, 2.0)
    taken = Acquisition.draw(np.random.default_rng(0), real=True)
    taken = type(taken)(**{**vars(taken), "thickness": 6.0})
    share, back = taken.slices(Lattice(z, z, z))
    assert torch.allclose(share.sum(1), torch.ones(len(share))) and torch.allclose(back.sum(1), torch.ones(len(z)))
    single = torch.zeros(len(z))
    single[5] = 1
    assert 0.2 < float((back @ share @ single).max()) < 0.6


def test_motion_doubles_edges_along_its_axis_and_keeps_the_mean():
    image = torch.zeros(1, 64, 64)
    image[:, 20:44, 20:44] = 1
    moved = acquisition._moved(image, 1, 6, 1.5)
    assert float(moved.mean()) == pytest.approx(float(image.mean()), abs=1e-5)
    assert (moved - image)[0, :, 32].abs().max() > 0.1, "across y"
    assert torch.allclose(moved[0, 32, 20:44], moved[0, 32, 20].expand(24), atol=1e-5), "not across x"
    assert torch.allclose(acquisition._moved(image, 1, 6, 0.0), image, atol=1e-5)
    drawn = [Acquisition.draw(np.random.default_rng(seed), real=True).motion for seed in range(200)]
    assert 3 < sum(each is not None for each in drawn) < 40


def test_smooth_fields_have_about_unit_variance_and_do_not_depend_on_the_lattice():
    rng = np.random.default_rng(0)
    axis = torch.arange(-70, 80, 2.0)
    field = SmoothField.draw(rng, 40, 8)
    whole, coarse = field.on(Lattice(axis, axis, axis)), field.on(Lattice(axis[::3], axis, axis))
    assert 0.7 < float(whole.std()) < 1.3
    assert torch.allclose(whole[:, ::3], coarse, atol=1e-4)


def test_a_blur_keeps_the_mean():
    values = torch.rand(6, 30, 30, generator=torch.Generator().manual_seed(0))
    soft = blurred(values, (0.5, 2.0, 2.0))
    assert float(soft.std()) < 0.5 * float(values.std())
    assert float(soft.mean()) == pytest.approx(float(values.mean()), abs=0.01)


def test_batches_are_a_function_of_their_number(labels):
    material = Material({"head.nii.gz": labels, "slices": slices_of_heads()}, [], priors([labels]))
    first, again = Batches(material, 1)[5], Batches(material, 1)[5]
    assert first.inputs.fine.shape == (SCANS * SLICES, 5, 192, 160) and first.label.shape == (
        SCANS * SLICES,
        1,
        192,
        160,
    )
    assert torch.equal(first.inputs.fine, again.inputs.fine) and torch.equal(first.label, again.label)
    assert not torch.equal(first.inputs.fine, Batches(material, 2)[5].inputs.fine)


def test_priors_say_how_often_a_tissue_is_somewhere(labels):
    known = priors([labels])
    assert known.shape == (4, 40, 48, 40) and float(known.min()) >= 0 and float(known.max()) == 1
    assert float(known[0, 20, 24, 20]) == 1, "the ventricle of the made-up head is in the middle"
