"""Random choices that all samplers make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.training.data.synthesis import RANDOM

PROBE = 4096  # voxels of a volume that its percentiles are estimated from
_RANDOM_SHARE = 0.1  # of scans with a contrast of their own, so that none is learned by heart; set by hand


def random_contrast(contrasts: Sequence[str], generator: torch.Generator) -> str:
    """One of the contrasts, or now and then one of its own."""
    if torch.rand(1, generator=generator) < _RANDOM_SHARE:
        return RANDOM
    return contrasts[int(torch.randint(len(contrasts), (1,), generator=generator))]


def one_of(values: np.ndarray, generator: torch.Generator) -> int:
    """One of the values, each as likely."""
    return int(values[int(torch.randint(len(values), (1,), generator=generator))])


def normalized(images: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Bring the 1st and 99th percentile of the probe, (B, voxels), to 0 and 1 in the images, (B, 1, H, W), and clip."""
    percentiles = torch.quantile(probe.float(), torch.tensor([0.01, 0.99], device=probe.device), dim=1)
    low, high = percentiles[:, :, None, None, None]
    return ((images - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)
