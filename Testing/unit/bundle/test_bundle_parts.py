"""Parts of a method with networks of their own, in a bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_config, trained
from torch import nn

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import score
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

CONFIG = tiny_config()


def test_networks_of_parts_lie_in_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANOMALY_MAPS, "scaled", Scaled)
    config = tiny_config(anomaly_map={"T2": Scaled(), "T1": Scaled()})
    model = config.build()
    model.networks["scaling"].weight.data.fill_(3.0)
    bundles.save(tmp_path, config, model)
    names = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert names == ["model.safetensors", "scaling.safetensors"]
    bundle = bundles.load(str(tmp_path))
    assert bundle.config == config and bundle.model.networks["scaling"].weight.item() == 3.0
    brain = Volume(np.random.default_rng(0).uniform(0, 1, (8, 16, 16)).astype(np.float32), np.ones((8, 16, 16), bool))
    scored = score(bundle.to("cpu", "fp32"), brain, "T2")
    assert scored.anomaly_map == pytest.approx(3 * np.abs(brain.volume - scored.restored.mean), abs=1e-5)

    before = bundle.sha256
    model.networks["scaling"].weight.data.fill_(2.0)
    bundles.save(tmp_path, config, model)
    assert bundles.load(str(tmp_path)).sha256 != before
    bundles.save(tmp_path, CONFIG, CONFIG.build())
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["model.safetensors"]


def test_statistics_of_parts_keep_their_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANOMALY_MAPS, "counted", Counted)
    config = tiny_config(anomaly_map={"T2": Counted()})
    model = config.build()
    model.networks["statistics"].running_var.fill_(1 / 3)
    model.networks["statistics"].weight.data.fill_(1 / 3)
    bundles.save(tmp_path, config, model)
    loaded = bundles.load(str(tmp_path)).model.networks["statistics"]
    assert loaded.running_var.item() == torch.tensor(1 / 3).item()
    assert loaded.weight.item() == torch.tensor(1 / 3).half().item()


class Followed:
    """Goes along the gradient of the denoiser's estimate, which only its plain form has."""

    plain = True
    timesteps = (250,)

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        with torch.enable_grad():
            image = slices.image.clone().requires_grad_()
            timestep = torch.full((len(slices),), 250)
            estimate = model(slices.with_image(image), timestep, model.noise(seeds.of(250), image))
            (gradient,) = torch.autograd.grad(estimate.sum(), image)
        with torch.no_grad():
            next(model.parameters()).zero_()  # it may do with its copy what it likes
        return (slices.image + gradient)[None]


def test_a_part_that_needs_gradients_gets_the_plain_form_as_a_copy(tmp_path: Path) -> None:
    bundles.save(tmp_path, CONFIG, trained(CONFIG.build()))
    bundle = bundles.load(str(tmp_path)).to("cpu", "bf16")
    guided = replace(bundle, config=tiny_config(restore=Followed()))
    before = {name: value.clone() for name, value in bundle.trainable.state_dict().items()}
    brain = Volume(np.random.default_rng(0).uniform(0, 1, (8, 16, 16)).astype(np.float32), np.ones((8, 16, 16), bool))
    scored = score(guided, brain, "T2")
    assert not np.array_equal(scored.restored.samples[0], brain.volume)
    assert all(torch.equal(value, before[name]) for name, value in bundle.trainable.state_dict().items())


@dataclass(frozen=True)
class Counted:
    """A map with statistics."""

    weights: str = "statistics"

    def build(self) -> nn.Module:
        return nn.BatchNorm2d(1)


@dataclass(frozen=True)
class Scaled:
    """The absolute residual times what its network has learned."""

    weights: str = "scaling"

    def build(self) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        difference = torch.from_numpy(restored.volume - restored.mean).abs().reshape(-1, 1)
        return model.networks[self.weights](difference).reshape(restored.volume.shape).numpy()
