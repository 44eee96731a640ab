"""What the denoiser is told about the clean slice, as one vector.

One way a file. A part builds the network whose weights the bundle keeps as those of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.condition.normalized_encoder import NormalizedEncoder
from conddiffusion_uad.method.condition.visible_patches import VisiblePatches


class Condition(Protocol):
    """A condition of a kind and size."""

    @property
    def features(self) -> int:
        """Length D of the vector; 0 for none."""

    def build(self) -> nn.Module:
        """The network with new weights; its ``forward`` takes ``Slices`` and gives features (B, D)."""


CONDITIONS: Mapping[str, type[Condition]] = {
    "encoder": Encoder,
    "normalized_encoder": NormalizedEncoder,
    "visible_patches": VisiblePatches,
    "none": Unconditional,
}
