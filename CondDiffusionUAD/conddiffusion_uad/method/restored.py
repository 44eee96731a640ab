"""A brain beside what it would look like healthy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Brain, Spacing, resampled


@dataclass(frozen=True)
class Restored:
    """A scan and its reconstructions.

    Attributes:
        brain: The scan.
        contrast: The scan's contrast, one of ``protocol.job.CONTRASTS``.
        samples: Reconstructions in [0, 1], not clamped, 0 outside the mask, float32 (S, z, y, x).
        batch: Slices that were computed at once; it decides the last digits.
        origin: The same on the bundle's grid, where it was computed; None when this is it.
    """

    brain: Brain
    contrast: str
    samples: np.ndarray
    batch: int
    origin: Restored | None = None

    @property
    def volume(self) -> np.ndarray:
        """The scan's intensities in [0, 1], 0 outside the mask, float32 (z, y, x)."""
        return self.brain.volume

    @property
    def mask(self) -> np.ndarray:
        """Where the brain is, boolean (z, y, x)."""
        return self.brain.mask

    @property
    def grid(self) -> Grid | None:
        """Where the voxels lie in the atlas; None when that is not known."""
        return self.brain.grid

    @cached_property
    def mean(self) -> np.ndarray:
        """The reconstruction: mean of the samples, clamped to [0, 1], 0 outside the mask, float32 (z, y, x)."""
        mean = self.samples.sum(axis=0) / np.float32(len(self.samples))
        return np.where(self.mask, np.clip(mean, 0, 1), 0).astype(np.float32)

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviation of the samples, each clamped to [0, 1], float32 (z, y, x); 0 for a single sample."""
        return np.clip(self.samples, 0, 1).std(axis=0, dtype=np.float32)

    def at(self, spacing: Spacing | None) -> Restored:
        """The same on a grid with other voxels: the scan with its own detail, the samples interpolated.

        Args:
            spacing: Size of the voxels along x, y and z in mm; None for the grid that it is on already.

        Raises:
            ValueError: It is not known where the voxels lie.
        """
        if spacing is None:
            return self
        brain = self.brain.at(spacing)
        if self.grid is None or brain.grid is None:
            raise ValueError("a brain without a grid cannot be brought to another one")
        samples = [resampled(sample, self.mask, self.grid, brain.grid) for sample in self.samples]
        return replace(self, brain=brain, samples=np.stack(samples) * brain.mask, origin=self)
