"""What restorers have in common that make one sample for each timestep."""

from __future__ import annotations

from dataclasses import dataclass

from conddiffusion_uad.method.checks import require_timesteps


@dataclass(frozen=True)
class EachTimestep:
    """One sample for each timestep.

    Attributes:
        timesteps: t in 1..1000, different ones.
    """

    timesteps: tuple[int, ...]

    def __post_init__(self) -> None:
        require_timesteps(self.timesteps)

    @property
    def samples(self) -> int:
        """See ``Restorer``."""
        return len(self.timesteps)

    def passes(self, height: int, width: int) -> int:
        """See ``Restorer``; one a sample, unless a restorer says otherwise."""
        return self.samples
