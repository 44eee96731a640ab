"""A counterfactual: the scan as it is, but for the places that look sick, which are drawn anew as healthy ones.

Paper: Fontanella et al. 2023, "Diffusion Models for Counterfactual Generation and Anomaly Detection in Brain Images",
arXiv:2308.02062.

The slice is brought to a timestep by deterministic DDIM steps, which can be undone (Song et al. 2020, equation 12, from
below). On the way back, the pixels of a mask M take random DDPM steps and find something likelier there; all others
return as they came: ``x_(t-1) = M DDPM(x_t) + (1 - M) DDIM(x_t)``.

What differs: no labels. The paper takes M from the saliency of a classifier of sick and healthy scans, found by walking
in the space of an auto-encoder. Here it is the share of the brain where the slice differs most from its reconstruction
in one step, and what is near; or, as ``saliency`` says, where the measure severity, which knows healthy slices and
synthetic anomalies, depends most on the slice: where its gradient is largest, averaged over 5 x 5 pixels. The pixels
beside M take the very values of the way up, which DDIM would come back to if it had no error of its own: outside of M
the result is the scan, to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from conddiffusion_uad.method.checks import require_whole
from conddiffusion_uad.method.measures.severity import Severity
from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.schedule import STEPS, CosineSchedule
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method

_BLUR = 5  # pixels a side that a saliency is averaged over
FIRST = 1  # the timestep that a clean slice is said to have: there, the noise has 0.00004 of the power


@dataclass(frozen=True)
class Counterfactual(EachTimestep):
    """One sample for each timestep.

    Attributes:
        timesteps: How far up the slices are brought, t in 1..1000, different ones.
        steps: Steps that the whole way to 1000 would have; the way to a timestep has its share of them.
        share: Of the pixels of the brain in a slice, those that are drawn anew because they differ most.
        grow: Pixels by which these places grow.
        saliency: Name of the network of the measure severity whose gradient says where; empty for the differences.
    """

    timesteps: tuple[int, ...] = (500,)
    steps: int = 50
    share: float = 0.1
    grow: int = 1
    saliency: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole(self, steps=STEPS)
        if Walk.length(min(self.timesteps), self.steps) < 1:
            raise ValueError(f"with {self.steps} steps, timesteps begin at {FIRST + STEPS // self.steps}")
        if not is_number(self.share, 0, 1) or type(self.grow) is not int or not is_number(self.grow, 0, 64):
            raise ValueError("share is a number from 0 to 1, grow a whole number from 0 to 64")

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if self.saliency and not any(isinstance(p, Severity) and p.weights == self.saliency for p in method.measures):
            raise ValueError(
                "the saliency of a counterfactual is the gradient of the measure severity; measures does not list it"
            )

    @property
    def plain(self) -> bool:
        """Whether it needs networks that gradients can follow; see ``Method.plain``."""
        return bool(self.saliency)

    def passes(self, height: int, width: int) -> int:
        """See ``Restorer``."""
        return sum(1 + 2 * Walk.length(timestep, self.steps) for timestep in self.timesteps)

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        condition = model.encoder(slices)
        return torch.stack([self._at(timestep, model, slices, condition, seeds) for timestep in self.timesteps])

    def _at(
        self, timestep: int, model: ConditionedDiffusion, slices: Slices, condition: torch.Tensor, seeds: Seeds
    ) -> torch.Tensor:
        level = torch.full((len(slices),), timestep, device=slices.image.device)
        estimate = model(slices, level, model.noise(seeds.of(timestep), slices.image), condition)
        importance = saliency(model, slices, self.saliency) if self.saliency else (slices.image - estimate).abs()
        where = self.suspicious(slices, importance)
        walk = Walk(model, slices, condition, self.steps)
        way = walk.up(timestep)
        x = way[-1]
        for step in range(len(way) - 1, 0, -1):
            noise = model.noise(seeds.of(timestep + step * (STEPS + 1)), slices.image)
            x = torch.where(where, walk.random_step(x, step, noise), way[step - 1])
        return torch.where(where, (x + 1) / 2, slices.image)

    def suspicious(self, slices: Slices, importance: torch.Tensor) -> torch.Tensor:
        """M: where something (B, 1, H, W) that is not negative is largest, boolean of that shape, inside the brain."""
        differences = importance.masked_fill(~slices.brain, -1)
        brain = slices.brain.flatten(1).sum(dim=1)
        chosen = (self.share * brain).round().long()
        order = differences.flatten(1).argsort(dim=1, descending=True)
        ranks = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).to(order).expand_as(order))
        found = (ranks < chosen[:, None]).view_as(slices.brain).float()
        grown = functional.max_pool2d(found, 2 * self.grow + 1, stride=1, padding=self.grow)
        return (grown > 0) & slices.brain


def saliency(model: ConditionedDiffusion, slices: Slices, weights: str) -> torch.Tensor:
    """How much the severity of each slice depends on each pixel, (B, 1, H, W), not negative."""
    with torch.enable_grad():
        image = slices.image.detach().clone().requires_grad_(True)
        severity = model.networks[weights](model.encoder(slices.with_image(image)).float()).sum()
        (gradient,) = torch.autograd.grad(severity, image)
    return functional.avg_pool2d(gradient.abs(), _BLUR, stride=1, padding=_BLUR // 2)


class Walk:
    """Steps of MONAI's DDIM scheduler between timesteps at equal distances: ``FIRST``, ``FIRST + stride``, ...

    Args:
        steps: That the whole way would have.
    """

    def __init__(self, model: ConditionedDiffusion, slices: Slices, condition: torch.Tensor, steps: int) -> None:
        self._model, self._slices, self._condition = model, slices, condition
        self._scheduler = _scheduler(slices.image.device)  # a new one, for it keeps the number of steps
        self._scheduler.set_timesteps(steps)
        self._stride = STEPS // steps

    @staticmethod
    def length(timestep: int, steps: int) -> int:
        """How many steps lead to a timestep, or to the last one before it, where the whole way would have ``steps``."""
        return (timestep - FIRST) // (STEPS // steps)

    def up(self, timestep: int) -> Sequence[torch.Tensor]:
        """The slices in [-1, 1] on the way to a timestep, or to the last one before it, each (B, 1, H, W)."""
        way = [2 * self._slices.image - 1]
        for step in range(self.length(timestep, STEPS // self._stride)):
            x, _ = self._scheduler.reversed_step(self._clean(way[-1], step), self._timestep(step), way[-1])
            way.append(x)
        return way

    def down(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """One deterministic step down, from the step of that number."""
        before, _ = self._scheduler.step(self._clean(x, step), self._timestep(step), x)
        return before

    def random_step(self, x: torch.Tensor, step: int, noise: torch.Tensor) -> torch.Tensor:
        """One random step down, with the variance of DDPM (Ho et al. 2020, equation 7) and the noise that is given."""
        clean = self._clean(x, step)
        alpha, alpha_before = (self._scheduler.alphas_cumprod[self._timestep(s)] for s in (step, step - 1))
        variance = (1 - alpha_before) / (1 - alpha) * (1 - alpha / alpha_before)
        direction = (x - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return alpha_before.sqrt() * clean + (1 - alpha_before - variance).sqrt() * direction + variance.sqrt() * noise

    def _timestep(self, step: int) -> int:
        return FIRST + step * self._stride

    def _clean(self, x: torch.Tensor, step: int) -> torch.Tensor:
        timestep = torch.full((len(x),), self._timestep(step), device=x.device)
        return 2 * self._model.predict(x, timestep, self._condition, self._slices.context) - 1


def _scheduler(device: torch.device) -> Any:
    """MONAI's DDIM scheduler for a network that predicts x_0, with the tables of :class:`CosineSchedule`."""
    from monai.networks.schedulers import DDIMScheduler  # takes seconds to import, which other methods shall not pay

    scheduler = DDIMScheduler(STEPS, "cosine", clip_sample=False, steps_offset=1, prediction_type="sample")
    table = CosineSchedule().to(device).alphas_cumprod
    scheduler.alphas = torch.cat([table[:1], table[1:] / table[:-1]])
    scheduler.betas = 1 - scheduler.alphas
    scheduler.alphas_cumprod = table
    return scheduler
