"""No condition: a plain denoising diffusion model.

Paper: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.
"""

from __future__ import annotations

from dataclasses import dataclass

from conddiffusion_uad.model.encoder import Unconditioned


@dataclass(frozen=True)
class Unconditional:
    """Nothing is told about the clean slice."""

    @property
    def features(self) -> int:
        return 0

    def build(self) -> Unconditioned:
        """A network without weights."""
        return Unconditioned()
