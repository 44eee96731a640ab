"""Speed of the network alone, plain and in its fast form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.benchmark.speed import Speed, ceiling, counted_flop, in_turns
from conddiffusion_uad.model import precision
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.fast.inference import FastDenoiser, accelerated
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training import recipe as recipes

PAPER_SIZE = (96, 96)  # height and width of the published slices
TIMESTEP = 300


def paper_network() -> ConditionedDiffusion:
    """An untrained network of the published size, with no weight that is zero."""
    torch.manual_seed(0)
    model = recipes.load("paper").bundle.build().eval().requires_grad_(False)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


def measure_paper(device: torch.device, *, slices: int, rounds: int) -> list[Speed]:
    """`measure` of the published network at the published size."""
    return measure("paper", paper_network().to(device), PAPER_SIZE, slices=slices, rounds=rounds)


def measure_bundle(name: str, device: torch.device, *, slices: int, rounds: int) -> list[Speed]:
    """`measure` of a bundle's network at the size of its grid. Raises BundleFailure."""
    bundle = bundles.load(name)
    return measure(bundle.name, bundle.model.to(device), bundle.config.grid.size[1::-1], slices=slices, rounds=rounds)


@torch.inference_mode()
def measure(name: str, model: ConditionedDiffusion, size: tuple[int, int], *, slices: int, rounds: int) -> list[Speed]:
    """Speed of a network's forms, run in turns.

    Args:
        name: To call it.
        model: In plain form, on the device that computes.
        size: Height and width of the slices.
        slices: At once.
        rounds: How often each form runs.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    image, noise = (torch.rand(slices, 1, *size, generator=generator).to(device) for _ in range(2))
    seen, timestep = Slices.of(image), torch.full((slices,), TIMESTEP, device=device)
    features = model.encoder(seen)
    forms = {"plain fp32": model} | {
        f"fast {name}": accelerated(model, dtype) for name, dtype in precision.DTYPES.items()
    }

    def run(form: ConditionedDiffusion) -> Callable[[], torch.Tensor]:
        return lambda: form(seen, timestep, noise, features)

    seconds = np.array(in_turns([run(form) for form in forms.values()], device, rounds))
    plain, found = run(model)(), []
    for index, (form, network) in enumerate(forms.items()):
        fast = network.denoiser if isinstance(network.denoiser, FastDenoiser) else None
        batch = min(slices, fast.together(image)) if fast else slices
        found.append(
            Speed(
                name=name,
                form=form,
                slices=slices,
                seconds=float(np.median(seconds[:, index])) / slices,
                flop=counted_flop(run(network)) / slices,
                ceiling=ceiling(model.denoiser, *size, batch, fast.dtype if fast else torch.float32, device),
                ratio=float(np.median(seconds[:, 0] / seconds[:, index])),
                error=float((run(network)() - plain).norm() / plain.norm()),
            )
        )
    return found
