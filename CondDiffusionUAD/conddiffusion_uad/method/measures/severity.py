"""How sick a scan looks to the encoder: its signed distance from a plane between healthy and sick slices.

Paper: Keicher et al. 2023, "Semantic Latent Space Regression of Diffusion Autoencoders for Vertebral Fracture Grading",
arXiv:2303.12031: in the space of a diffusion auto-encoder's features a hyperplane parts healthy from sick, and the
distance from it grades severity without ever having seen a grade.

With the mean z of the encoder's features over the slices of a scan, ``severity = n . z - b``, n of length one, above 0
on the side of the sick. ``train severity`` finds n and b, and how far held-out healthy scans are.

What differs: nobody needs sick scans, the sick slices are healthy ones with synthetic anomalies (or, on request, all
slices of scans that are known to be sick, which says less than the paper's single vertebrae); the plane is that of
Fisher's discriminant instead of a support vector machine's; and the features are the condition of the denoiser, which
knows no more of a slice than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from conddiffusion_uad.method.brain import slices_of
from conddiffusion_uad.method.checks import require_whole
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method

BATCH = 16  # slices at once
LEAST_VOXELS = 50  # of brain in a slice; smaller ones say little
MOST_FEATURES = 2048
PERCENTILES = 101  # 0, 1, ... 100


@dataclass(frozen=True)
class Severity:
    """The signed distance of a scan from the plane, and how many healthy scans have a smaller one.

    Attributes:
        features: Length of the condition.
        weights: Name of the network that keeps the plane.
    """

    features: int = 128
    weights: str = "severity"

    def __post_init__(self) -> None:
        require_whole(self, features=MOST_FEATURES)

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if method.condition.features != self.features:
            raise ValueError(
                f"severity is a distance in the space of the {method.condition.features} features of the condition, "
                f"and was asked for in one of {self.features}"
            )

    def build(self) -> Plane:
        """The network with a plane that parts nothing."""
        return Plane(self.features)

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> Mapping[str, float]:
        """``severity``, and ``severity_healthy``: the share of healthy scans that are less severe, 0 to 1."""
        plane = model.networks[self.weights]
        assert isinstance(plane, Plane)
        features = scan_features(restored, model)
        if not len(features):
            return {"severity": 0.0, "severity_healthy": 0.0}
        severity = float(plane(features).mean())
        return {"severity": severity, "severity_healthy": plane.share_below(severity)}


class Plane(nn.Module):
    """A plane in the space of features, and the severities of healthy scans.

    Attributes:
        normal: n, (features,).
        offset: b, ().
        healthy: Percentiles of the severities of healthy scans, rising, (101,).
    """

    normal: torch.Tensor
    offset: torch.Tensor
    healthy: torch.Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("normal", torch.zeros(features))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("healthy", torch.zeros(PERCENTILES))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Signed distances (B,) of features (B, D)."""
        return features @ self.normal - self.offset

    def share_below(self, severity: float) -> float:
        """The share of healthy scans with a smaller severity, 0 to 1."""
        return float(np.interp(severity, self.healthy.cpu().numpy(), np.linspace(0, 1, PERCENTILES)))


def scan_features(restored: Restored, model: ConditionedDiffusion) -> torch.Tensor:
    """The encoder's features of the slices of a scan that show enough brain, (slices, D)."""
    shown = np.flatnonzero(restored.mask.sum(axis=(1, 2)) >= LEAST_VOXELS)
    found = [torch.zeros(0, model.features, device=model.device)]
    with torch.no_grad():
        for index in np.split(shown, range(BATCH, len(shown), BATCH)):
            found.append(
                model.encoder(slices_of(restored.brain, (), restored.contrast, index).to(model.device)).float()
            )
    return torch.cat(found)
