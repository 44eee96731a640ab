"""Every part of a method does what it says, checks itself, and survives being written and read."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_model import DENOISER, GRID, tiny_method, trained
from torch import nn

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method import parts
from conddiffusion_uad.method.adapt import ADAPTATIONS
from conddiffusion_uad.method.adapt.batch_statistics import BatchStatistics
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.brain import Volume, slices_of
from conddiffusion_uad.method.condition import CONDITIONS
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.context import CONTEXTS, Context
from conddiffusion_uad.method.context.atlas import AtlasPriors
from conddiffusion_uad.method.context.coordinates import Coordinates
from conddiffusion_uad.method.context.mirror import Mirror
from conddiffusion_uad.method.context.neighbours import Neighbours
from conddiffusion_uad.method.measures import MEASURES
from conddiffusion_uad.method.measures.disagreement import Disagreement
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.method.noise import NOISES
from conddiffusion_uad.method.noise.gaussian import Gaussian
from conddiffusion_uad.method.noise.simplex import Simplex
from conddiffusion_uad.method.restore import RESTORERS
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.slices import UNKNOWN, Slices
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.protocol.failures import BadInput

REGISTRIES = (ADAPTATIONS, ANOMALY_MAPS, CONDITIONS, CONTEXTS, MEASURES, NOISES, RESTORERS)
FULL = tiny_method(
    context=(Neighbours(2), Mirror(), AtlasPriors(), Coordinates()),
    measures=(Disagreement(),),
    adapt=BatchStatistics(0.25),
    noise=Gaussian(),
    anomaly_map={"T1": Residual("hypointense", "median", 3, "bright"), "FLAIR": Residual()},
)


@pytest.mark.parametrize("registry", REGISTRIES)
def test_all_parts_are_frozen_dataclasses_with_docstrings(registry: dict[str, type]) -> None:
    for part in registry.values():
        assert is_dataclass(part) and part.__dataclass_params__.frozen, part
        assert part.__doc__ and not part.__doc__.startswith(f"{part.__name__}("), part


@pytest.mark.parametrize("method", [tiny_method(), tiny_method(condition=Unconditional()), FULL])
def test_a_method_survives_json(method: Method) -> None:
    assert Method.from_json(method.to_json()) == method


@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [
        ("noise", {"kind": "simplex", "octave": 3}, "unknown key 'octave'"),
        ("noise", {"kind": "perlin"}, "noise cannot be 'perlin'; it is one of: simplex, gaussian, coarse"),
        ("noise", {"octaves": 3}, "noise cannot be None"),
        ("noise", {"kind": "simplex", "octaves": 2.0}, "octaves is a whole number"),
        ("noise", {"kind": "simplex", "octaves": 7, "wavelength": 16}, "wavelength"),
        ("noise", {"kind": "simplex", "persistence": float("nan")}, "persistence"),
        ("restore", {"kind": "one_step", "timesteps": [0]}, "whole numbers from 1 to 1000"),
        ("restore", {"kind": "one_step"}, "timesteps"),
        ("condition", {"kind": "encoder", "features": 0}, "condition"),
        ("context", [{"kind": "neighbours", "count": 0}], "count is a whole number"),
        ("context", [{"kind": "neighbours", "count": True}], "count is a whole number"),
        ("context", {"kind": "mirror"}, "list of at most"),
        ("context", [{"kind": "mirror"}] * 17, "list of at most"),
        ("anomaly_map", {}, "its contrasts"),
        ("anomaly_map", {"PD": {"kind": "residual"}}, "its contrasts"),
        ("anomaly_map", {"T1": {"kind": "residual", "sign": "positive"}}, "anomaly_map.T1: the sign"),
        ("anomaly_map", {"T1": {"kind": "residual", "size": float("inf")}}, "anomaly_map.T1: the size"),
        ("anomaly_map", {"T1": {"kind": "residual", "smoothing": "median", "size": 0.4}}, "odd whole number"),
        ("adapt", {"kind": "batch_statistics", "share": 2}, "share is a number from 0 to 1"),
        ("measures", ["agreement"], "measures cannot be 'agreement'"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_told_with_its_place(kind: str, values: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        Method.from_json({**tiny_method().to_json(), kind: values})


def test_a_kind_alone_can_be_given_as_text() -> None:
    method = Method.from_json({**tiny_method().to_json(), "context": ["mirror", {"kind": "neighbours"}]})
    assert method.context == (Mirror(), Neighbours())


@pytest.fixture(scope="module")
def brain() -> Volume:
    generator = np.random.default_rng(0)
    volume = generator.uniform(0.2, 1, (8, 16, 16)).astype(np.float32)
    return Volume(volume, np.ones(volume.shape, bool), GRID)


@pytest.mark.parametrize("part", [Neighbours(), Neighbours(3), Mirror(), AtlasPriors(), Coordinates()])
@pytest.mark.parametrize("grid", [GRID, None])
def test_contexts_have_the_channels_that_they_say(part: Context, grid: Grid | None, brain: Volume) -> None:
    channels = part(brain.volume, brain.mask, grid, np.array([2, 5, 7]))
    assert channels.shape == (3, part.channels, 16, 16) and channels.dtype == torch.float32
    assert bool(torch.isfinite(channels).all())


def test_neighbours_are_the_slices_below_and_above_and_empty_beyond_the_volume(brain: Volume) -> None:
    found = Neighbours(2)(brain.volume, brain.mask, brain.grid, np.array([0, 4])).numpy()
    assert not found[0, :2].any()
    np.testing.assert_array_equal(found[0, 2:], brain.volume[1:3])
    np.testing.assert_array_equal(found[1], brain.volume[[2, 3, 5, 6]])


def test_the_mirror_is_the_plane_x_0_of_the_atlas_or_the_middle_of_the_brain(brain: Volume) -> None:
    symmetric = Grid(brain.volume.shape[::-1], (8.0, 8.0, 8.0), (-60.0, 0.0, 0.0))  # x = 0 between columns 7 and 8
    z = np.array([3])
    found = Mirror()(brain.volume, brain.mask, symmetric, z).numpy()[0, 0]
    np.testing.assert_allclose(found, brain.volume[3, :, ::-1], atol=1e-6)
    part = brain.mask.copy()
    part[:, :, 12:] = False
    found = Mirror()(brain.volume * part, part, None, z).numpy()[0, 0]
    np.testing.assert_allclose(found[:, :12], brain.volume[3, :, 11::-1], atol=1e-6)
    shifted = Grid(symmetric.size, symmetric.spacing, (-62.0, 0.0, 0.0))  # a quarter of a voxel beside it
    found = Mirror()(brain.volume, brain.mask, shifted, z).numpy()[0, 0]
    expected = 0.5 * brain.volume[3, :, 10] + 0.5 * brain.volume[3, :, 11]
    np.testing.assert_allclose(found[:, 5], expected, atol=1e-6)


def test_the_atlas_is_shown_where_the_slice_lies() -> None:
    shipped = atlas.load()
    own = Grid.of(shipped.t1)
    volume = np.zeros(own.size[::-1], np.float32)
    z = np.array([30, 50])
    t1, mask = AtlasPriors()(volume, volume > 0, own, z).unbind(dim=1)
    assert 0.9 < t1.max() <= 1 and t1.min() == 0
    expected = sitk.GetArrayFromImage(shipped.mask)[z]
    np.testing.assert_array_equal(mask.numpy(), expected)
    assert not AtlasPriors()(volume, volume > 0, None, z).any()


def test_coordinates_are_places_in_the_atlas(brain: Volume) -> None:
    found = Coordinates()(brain.volume, brain.mask, GRID, np.array([1]))[0] * 100
    assert found[:, 2, 3].tolist() == pytest.approx([-60 + 3 * 8, -60 + 2 * 8, -30 + 8])


def test_slices_know_where_they_lie_and_of_what_contrast_they_are(brain: Volume) -> None:
    slices = slices_of(brain, (Neighbours(), Mirror()), "FLAIR", np.array([1, 3]))
    assert slices.z.tolist() == [-22.0, -6.0] and slices.contrast.tolist() == [2, 2]
    assert slices.context.shape == (2, 3, 16, 16)
    unknown = slices_of(Volume(brain.volume, brain.mask), (), None, np.array([1]))
    assert bool(unknown.z.isnan().all()) and unknown.contrast.tolist() == [UNKNOWN]
    assert unknown.context.shape == (1, 0, 16, 16)
    both = Slices.cat([slices, slices])
    assert len(both) == 4 and torch.equal(both[2:].image, slices.image)
    assert torch.equal(both[torch.tensor([3])].z, slices.z[1:])


def test_white_noise_is_standard_normal_and_the_seeds_own() -> None:
    fields = Gaussian()(range(50), torch.zeros(1, 1, 32, 32))
    assert fields.shape == (50, 1, 32, 32)
    assert fields.mean().item() == pytest.approx(0, abs=0.02) and fields.std().item() == pytest.approx(1, rel=0.02)
    assert torch.equal(Gaussian()([7], torch.zeros(3, 1, 32, 32)), fields[7:8])


def test_batch_statistics_move_towards_the_scan_and_are_put_back(brain: Volume) -> None:
    model = trained(tiny_method().build(DENOISER))
    slices = slices_of(brain, (), "T2", np.arange(8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    usual = model.encoder(slices)
    with BatchStatistics(1.0)(model, slices) as adapted:
        assert not adapted.encoder.training
        first = adapted.encoder.conv1(slices.image)
        assert torch.allclose(adapted.encoder.bn1.running_mean, first.mean((0, 2, 3)), atol=1e-5)
        assert not torch.allclose(adapted.encoder(slices), usual)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    with pytest.raises(KeyError), BatchStatistics(1.0)(model, slices):
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_disagreement_is_the_mean_spread_inside_the_brain(brain: Volume) -> None:
    samples = np.stack([np.full(brain.volume.shape, value, np.float32) for value in (0.2, 0.6)])
    restored = Restored(brain, "T2", samples, 16)
    assert Disagreement()(restored, None) == {"disagreement": pytest.approx(0.2)}


def test_a_finer_grid_keeps_intensities_and_places(brain: Volume) -> None:
    z, y, x = np.indices((20, 24, 24)).astype(np.float32)
    grid = Grid((24, 24, 20), (4.0, 4.0, 4.0), (-46.0, -46.0, -38.0))
    ramp = (x + y + z) / 80
    mask = np.zeros(ramp.shape, bool)
    mask[4:16, 4:20, 4:20] = True
    restored = Restored(Volume(ramp * mask, mask, grid), "T2", np.stack([ramp * mask]), 16)
    finer = restored.at((2.0, 2.0, 4.0))
    assert finer.grid.spacing == (2.0, 2.0, 4.0) and not any(size % 8 for size in finer.grid.size[:2])
    assert finer.origin is restored
    center = np.array(finer.grid.origin) + np.array([20, 20, 10]) * finer.grid.spacing
    expected = ((center - np.array(grid.origin)) / 4.0).sum() / 80
    assert finer.volume[10, 20, 20] == pytest.approx(expected, abs=1e-3)
    inside = finer.mask
    assert finer.samples[0][inside] == pytest.approx(finer.volume[inside], abs=1e-5)
    assert not finer.samples[0][~inside].any()
    assert restored.at(None) is restored
    with pytest.raises(ValueError, match="without a grid"):
        Restored(Volume(ramp, mask), "T2", np.stack([ramp]), 16).at((2.0, 2.0, 4.0))


@dataclass(frozen=True)
class Learnt:
    """A part with a network of its own."""

    weights: str = "scaling"
    spacing: tuple[float, float, float] | None = None

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def __call__(self, restored: Restored, model: Any) -> np.ndarray:
        return np.abs(restored.volume - restored.mean) * float(model.networks[self.weights].weight.abs())


def test_parts_that_name_the_same_weights_share_one_network() -> None:
    method = tiny_method(anomaly_map={"T1": Learnt(), "T2": Learnt()})
    assert isinstance(Learnt(), parts.Learned) and list(method.learned()) == ["scaling"]
    for wrong in ("model", "Networks", "../up", ""):
        with pytest.raises(ValueError, match="weights cannot be called"):
            tiny_method(anomaly_map={"T1": Learnt(wrong)}).learned()


def test_a_method_is_named_by_the_kinds_of_its_parts() -> None:
    assert tiny_method().kinds == ["encoder", "simplex", "one_step", "residual"]


def test_other_timesteps_for_one_run_leave_the_method_as_it_is() -> None:
    method = tiny_method()
    assert method.at(None) is method.at((250, 500)) is method
    assert method.at([100]).restore == OneStep((100,)) and method.restore.timesteps == (250, 500)
    with pytest.raises(BadInput, match="timesteps"):
        method.at([0])


def test_the_classes_of_parts_have_no_field_called_kind() -> None:
    for registry in REGISTRIES:
        assert not any(field.name == parts.KIND for part in registry.values() for field in fields(part))


def test_sizes_of_encoders_are_checked() -> None:
    for wrong in ((0, 1, 1, 1), (1, 1, 1), (65, 1, 1, 1), (1.0, 1, 1, 1)):
        with pytest.raises(ValueError, match="layers"):
            Encoder(4, "basic", wrong, (4, 4, 4, 4))
    with pytest.raises(ValueError, match="block"):
        Encoder(4, "wide", (1, 1, 1, 1), (4, 4, 4, 4))
    assert Simplex().octaves == 6
