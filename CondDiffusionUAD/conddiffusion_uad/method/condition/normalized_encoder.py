"""The published condition with another normalization in its encoder.

Paper: Madaan et al. 2023, "On Sensitivity and Robustness of Normalization Schemes to Input Distribution Shifts in
Automatic MR Image Diagnosis", arXiv:2306.13276: under the artefacts of MRI, classifiers keep more of their accuracy
with group or layer normalization than with batch normalization, whose statistics are those of the training.

What differs: there the network was a classifier; here it is the encoder that artefacts may reach, and what to look at
is the anomaly map, by ``evaluate --robustness``. The denoiser has group normalization in every method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.model.residual_network import GROUPS, NORMS


@dataclass(frozen=True)
class NormalizedEncoder(Encoder):
    """Features of the image, from a residual network with a normalization of choice.

    Attributes:
        norm: "batch" (which makes it the plain encoder), "group", "layer" or "instance".
    """

    norm: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in NORMS:
            raise ValueError(f"norm is one of {', '.join(NORMS)}")
        if self.norm == "group" and any(channels % GROUPS for channels in self.block_inplanes):
            raise ValueError(f"with group normalization, block_inplanes are multiples of {GROUPS}")

    @property
    def network(self) -> dict[str, Any]:
        """See :class:`Encoder`."""
        return {**super().network, "norm": self.norm}
