"""The published condition: features of the clean image from a residual network.

Paper: Behrendt et al. 2025, "Guided Reconstruction with Conditioned Diffusion Models for Unsupervised Anomaly Detection
in Brain MRIs", arXiv:2312.04215.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conddiffusion_uad.model.encoder import ImageEncoder, build_encoder
from conddiffusion_uad.model.residual_network import fewest_values
from conddiffusion_uad.protocol.job import is_number

BLOCKS = ("basic", "bottleneck")
MOST = 2048  # features and channels; the published encoder has 512
MOST_LAYERS = 64  # of a stage; the published encoder has 6
STAGES = 4


@dataclass(frozen=True)
class Encoder:
    """Features of the image, from a residual network.

    Attributes:
        features: Length of the condition.
        block: "basic" or "bottleneck".
        layers: Blocks of each of the four stages.
        block_inplanes: Channels of each stage.
    """

    features: int
    block: str
    layers: tuple[int, ...]
    block_inplanes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"block is one of {BLOCKS}")
        for name, most in (("layers", MOST_LAYERS), ("block_inplanes", MOST)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != STAGES or not all(_is_count(v, most) for v in values):
                raise ValueError(f"{name} are {STAGES} whole numbers from 1 to {most}")
        if not _is_count(self.features, MOST):
            raise ValueError(f"features is a whole number from 1 to {MOST}")

    @property
    def network(self) -> dict[str, Any]:
        """What decides the shape of the weights but those of the last layer, as JSON values."""
        return {"block": self.block, "layers": list(self.layers), "block_inplanes": list(self.block_inplanes)}

    def build(self) -> ImageEncoder:
        """The network with new weights."""
        return build_encoder(self.network, self.features)

    def require_slices(self, height: int, width: int, batch: int) -> None:
        """Raise ValueError unless slices of that size can be trained with, so many at once.

        A normalization that has a single value to take a mean over gives zero, whatever the value is.
        """
        norm = self.network.get("norm", "batch")
        if fewest_values(norm, self.block_inplanes, height, width) * (batch if norm == "batch" else 1) == 1:
            raise ValueError(
                f"its encoder makes single pixels of slices of {height} x {width}, and {norm} normalization turns all "
                f"of them into the same zero: take a finer grid{', a larger batch' if norm == 'batch' else ''} or "
                "another normalization"
            )


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and is_number(value, 1, most)
