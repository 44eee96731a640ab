"""Models whose denoisers are plain functions, to follow what a way of restoring does with their answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tiny_model import DENOISER, tiny_method
from torch import nn

from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.method.noise.gaussian import Gaussian
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

Answer = Callable[[torch.Tensor], torch.Tensor]


class Function(nn.Module):
    """Takes the place of a denoiser.

    Attributes:
        answer: From noisy slices in [-1, 1] to clean ones.
        seen: The noisy slices that it was given, one tensor a pass.
        timesteps: The timesteps of each pass.
    """

    divisor = 1

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[torch.Tensor] = []
        self.timesteps: list[list[int]] = []
        self.one = nn.Parameter(torch.ones(()))

    def forward(
        self, noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        self.seen.append(noisy.detach())
        self.timesteps.append(timestep.tolist())
        return self.answer(noisy)


class Told(ConditionedDiffusion):
    """A model with such a denoiser, or a tiny one of the real kind."""

    denoiser: Function

    @classmethod
    def of(cls, method: Method) -> ConditionedDiffusion:
        """A real, untrained one."""
        torch.manual_seed(0)
        return method.build(DENOISER).eval()


def told(answer: Answer, method: Method | None = None) -> Told:
    """An unconditional model with Gaussian noise, or one of a method, whose denoiser answers as a function does."""
    method = method or tiny_method(condition=Unconditional(), noise=Gaussian())
    return Told(method.condition.build(), Function(answer), method.noise).eval()  # type: ignore[arg-type]
