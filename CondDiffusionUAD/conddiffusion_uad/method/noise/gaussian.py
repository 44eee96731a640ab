"""White Gaussian noise.

Paper: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Gaussian:
    """Independent standard normal values in all pixels, the noise of the original diffusion models (Ho et al. 2020)."""

    def __call__(self, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """A field for each seed, float32 (seeds, 1, H, W); drawn on the CPU, so devices agree."""
        size = (1, *like.shape[2:])
        fields = [torch.randn(size, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return torch.stack(fields).to(like.device)
