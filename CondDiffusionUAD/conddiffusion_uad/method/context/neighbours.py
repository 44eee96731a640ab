"""The slices below and above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.checks import require_whole

MOST = 8  # slices on either side


@dataclass(frozen=True)
class Neighbours:
    """The next slices on either side, the lowest first; slices beyond the volume are empty.

    Attributes:
        count: How many on either side.
    """

    count: int = 1

    def __post_init__(self) -> None:
        require_whole(self, count=MOST)

    @property
    def channels(self) -> int:
        return 2 * self.count

    @property
    def reach(self) -> int:
        return self.count

    def __call__(self, volume: np.ndarray, mask: np.ndarray, grid: Grid | None, z: np.ndarray) -> torch.Tensor:
        steps = [step for step in range(-self.count, self.count + 1) if step]
        reached = z[:, None] + np.array(steps)
        there = (reached >= 0) & (reached < len(volume))
        found = volume[np.clip(reached, 0, len(volume) - 1)] * there[:, :, None, None]
        return torch.from_numpy(found.astype(np.float32))
