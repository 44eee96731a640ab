"""Seeds of the noise: independent between slices and between the uses that a method has for noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """Seeds of some slices of a volume.

    Attributes:
        seed: The seed of the whole run.
        index: Positions of the slices along z, whole numbers, shape (B,).
    """

    seed: int
    index: np.ndarray

    def of(self, stream: int) -> list[int]:
        """A seed for each of the slices; ``stream`` tells uses apart, such as the timesteps of a reconstruction.

        What a slice gets depends on nothing but the run's seed, the stream and the slice's position in the volume.
        """
        last = int(self.index.max(initial=-1))
        states = np.random.SeedSequence([self.seed, stream]).generate_state(last + 1, np.uint32)
        return [int(states[position]) for position in self.index]
