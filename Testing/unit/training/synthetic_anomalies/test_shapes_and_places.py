"""Outlines, places, opacity and intensities of anomalies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conddiffusion_uad.training.data.healthy_sources import FLUID, GRAY, VENTRICLE, WHITE
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.data.signal_equations import Palette, draw
from conddiffusion_uad.training.synthetic_anomalies import intensity
from conddiffusion_uad.training.synthetic_anomalies.fade import Fade
from conddiffusion_uad.training.synthetic_anomalies.place import Places
from conddiffusion_uad.training.synthetic_anomalies.shape import Blob, RealShape


def lattice(step: float = 1.0) -> Lattice:
    axis = torch.arange(-30, 30 + step / 2, step)
    return Lattice(axis, axis, axis)


def test_a_blob_has_about_the_volume_that_its_radius_says():
    whole = lattice()
    volumes = []
    for seed in range(12):
        found = Blob.draw(np.zeros(3), 8.0, np.random.default_rng(seed)).on(whole)
        volumes.append(float(found[1].sum()) / (4 / 3 * np.pi * 8**3))
    assert 0.7 < np.median(volumes) < 1.8, "lobes add to the ellipsoid; they do not multiply it"


def test_a_blob_is_the_same_whatever_lattice_looks_at_it():
    blob = Blob.draw(np.array([1.0, -3.0, 2.0]), 6.0, np.random.default_rng(1))
    fine, coarse = torch.zeros(lattice().shape), torch.zeros(lattice(2.0).shape)
    for target, grid in ((fine, lattice()), (coarse, lattice(2.0))):
        where, share = blob.on(grid)
        target[where] = share
    assert torch.allclose(fine[::2, ::2, ::2], coarse, atol=0.02)


def test_a_core_lies_inside_and_a_halo_around():
    blob = Blob.draw(np.zeros(3), 8.0, np.random.default_rng(3))
    sizes = []
    for grown in (0.5, 1.0, 1.6):
        _, share = blob.on(lattice(), grown)
        sizes.append(float(share.sum()))
    assert sizes[0] < 0.5 * sizes[1] < sizes[1] < 0.7 * sizes[2]


def test_a_blob_beside_the_lattice_is_not_there():
    assert Blob.draw(np.array([200.0, 0, 0]), 4.0, np.random.default_rng(0)).on(lattice()) is None


def test_a_real_shape_lies_where_it_did_and_flips_about_the_mid_plane():
    mask = torch.zeros(5, 5, 5, dtype=torch.uint8)
    mask[1:4, 1:4, 1:4] = 1
    for flipped, x in ((False, 12.0), (True, -12.0)):
        shape = RealShape(mask, (-2.0, -2.0, 10.0), flipped, np.zeros(3), edge=(0.0, 0.0, 0.0))
        where, share = shape.on(lattice())
        found = torch.zeros(lattice().shape)
        found[where] = share
        middle = (found[..., None] * lattice().points().permute(1, 2, 3, 0)).sum((0, 1, 2)) / found.sum()
        assert middle.tolist() == pytest.approx([0.0, 0.0, x]) and float(found.sum()) == 27
        moved = replace(shape, shift=np.array([1.0, 2.0, 3.0]))
        assert moved.middle.tolist() == pytest.approx([1.0, 2.0, x + 3]) and moved.holds_its_middle
    scattered = mask.clone()
    scattered[2, 2, 2] = 0
    assert not replace(shape, mask=scattered).holds_its_middle


def test_opacity_stays_within_its_limits():
    for seed in range(20):
        fade = Fade.draw(np.zeros(3), 10.0, np.random.default_rng(seed))
        opacity = torch.as_tensor(fade.on(lattice(2.0)))
        assert float(opacity.min()) > 0 and float(opacity.max()) <= 1


@pytest.mark.parametrize(("contrast", "sign"), [("T1", -1), ("T2", 1), ("FLAIR", 1)])
@pytest.mark.parametrize("physics", [0.0, 1.0])
def test_most_lesions_have_the_sign_of_their_contrast(contrast, sign, physics):
    rng = np.random.default_rng(5)
    right = 0
    for _ in range(300):
        palette = draw(contrast, rng, physics)
        white = palette.white if contrast == "T1" else palette.gray
        right += sign * (intensity.draw(palette, rng) - white) > 0
    assert 0.9 < right / 300 < 1.0, "a minority has the other sign, as blood and chronic cavities have"


def test_simulated_tissue_has_the_order_of_its_contrast():
    rng = np.random.default_rng(0)
    for _ in range(400):
        t1, t2, flair = (draw(contrast, rng, physics=1.0) for contrast in ("T1", "T2", "FLAIR"))
        assert t1.fluid < t1.gray < t1.white
        assert t2.white < t2.gray < t2.fluid
        assert flair.fluid < 0.5 * min(flair.gray, flair.white)


def test_places_are_where_they_say():
    grid = Lattice(*(torch.arange(0, 80, 4.0) for _ in range(3)))
    tissue = torch.zeros(grid.shape, dtype=torch.uint8)
    tissue[2:18, 2:18, 2:18] = FLUID
    tissue[3:17, 3:17, 3:17] = GRAY
    tissue[4:16, 4:16, 4:16] = WHITE
    tissue[9:11, 9:11, 9:11] = VENTRICLE
    places, rng = Places(tissue, grid), np.random.default_rng(0)
    kinds = {"inside ventricles": {VENTRICLE}, "white": {WHITE}, "fluid": {FLUID}, "anywhere": {GRAY, WHITE}}
    for name, wanted in kinds.items():
        indices = np.rint([places.draw(name, rng) / 4 for _ in range(60)]).astype(int)
        assert {int(tissue[tuple(i)]) for i in indices} == wanted
    beside = np.array([places.draw("ventricles", rng) for _ in range(60)])
    assert np.abs(beside - 38).max() <= 4 * 1.5 + 4, "within a voxel of the ventricle"
    assert places.nearest("inside ventricles", np.array([0.0, 39.0, 80.0])).tolist() == [36, 40, 40]
    nowhere = Places(torch.zeros_like(tissue), grid)
    assert not nowhere.has("insula") and nowhere.nearest("insula", np.zeros(3)) is None


def test_the_insula_has_fluid_beside_it_and_is_on_both_sides():
    axis = torch.arange(-76, 80, 4.0)
    tissue = torch.full((len(axis),) * 3, FLUID, dtype=torch.uint8)
    places, rng = Places(tissue, Lattice(axis, axis, axis)), np.random.default_rng(0)
    found = np.array([places.draw("insula", rng) for _ in range(60)])
    assert np.abs(np.abs(found[:, 2]) - 38).max() <= 12 and {-1.0, 1.0} == set(np.sign(found[:, 2]))
    assert np.abs(found[:, 1]).max() <= 27 and np.abs(found[:, 0] - 2).max() <= 18


def test_an_unknown_contrast_has_no_rule():
    palette = Palette("random", np.zeros(0), 0.2, 0.5, 0.8)
    rng = np.random.default_rng(0)
    values = [intensity.draw(palette, rng) for _ in range(200)]
    assert min(values) < 0.4 and max(values) > 0.8
