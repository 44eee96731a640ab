"""Where in the atlas each pixel of a slice lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.io.volume import Grid

UNIT_MM = 100.0  # no place of a brain is much farther from the atlas' origin


@dataclass(frozen=True)
class Coordinates:
    """The place of each pixel as x, y and z in the atlas, LPS, in units of 100 mm; 0 where the place is not known."""

    @property
    def channels(self) -> int:
        return 3

    @property
    def reach(self) -> int:
        return 0

    def __call__(self, volume: np.ndarray, mask: np.ndarray, grid: Grid | None, z: np.ndarray) -> torch.Tensor:
        rows, columns = volume.shape[1:]
        if grid is None:
            return torch.zeros(len(z), 3, rows, columns)
        axes = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing)
        index = np.stack(np.broadcast_arrays(np.arange(columns), np.arange(rows)[:, None], z[:, None, None]))
        places = np.einsum("ij,jbyx->biyx", axes, index) + np.array(grid.origin)[:, None, None]
        return torch.from_numpy((places / UNIT_MM).astype(np.float32))
