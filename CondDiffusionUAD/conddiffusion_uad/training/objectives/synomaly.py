"""The objective of synomaly noise: noise that also has blobs in it, so that the model learns to take blobs away.

Paper: Bi et al. 2024, "Synomaly Noise and Multi-Stage Diffusion: A Novel Approach for Unsupervised Anomaly Detection in
Medical Images", arXiv:2411.04004.

The noise of a slice is ``n + M dir (u + offset)`` with n the model's own noise, u uniform in [0, 1] for every pixel,
and M where white noise, smoothed by a Gaussian of ``sigma`` pixels and stretched to [0, 255], is above a threshold.
When scans are restored, the noise is n alone, so that anomalies look like what the model has learned to remove.

What differs: the network predicts x_0 with the mean absolute error, as all methods here; ``sign = "both"`` draws the
direction for every slice, because lesions are bright in some contrasts and dark in others; and the published values
(for tumors: sigma 3, threshold 175, offset 0.5, brighter) were searched for on test data, so none of them is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from scipy import ndimage

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.objectives.denoising import Denoising, NoisySlices
from conddiffusion_uad.training.table import require_range

SIGNS = {"brighter": (1,), "darker": (-1,), "both": (1, -1)}
WHITE = 255.0  # what smoothed noise is stretched to
WIDEST = 64.0  # sigma, pixels


@dataclass(frozen=True)
class Synomaly(Denoising):
    """Give back healthy slices from under noise with blobs.

    Attributes:
        sigma: Of the Gaussian that makes blobs of white noise, pixels.
        threshold: Above which smoothed noise in [0, 255] is a blob.
        offset: The least that a blob adds to the noise.
        sign: "brighter", "darker" or "both", one of them for each slice.
    """

    sigma: float = 3.0
    threshold: float = 175.0
    offset: float = 0.5
    sign: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self.sigma, 0.1, WIDEST, "sigma")
        require_range(self.threshold, 0, WHITE, "threshold")
        require_range(self.offset, 0, 10, "offset")
        if self.sign not in SIGNS:
            raise ValueError(f"sign is one of {', '.join(SIGNS)}")

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> NoisySlices:
        """The slices at random timesteps under noise with blobs; see :class:`Objective`."""
        noisy = super().corrupt(slabs, noise, generator)
        blobs = torch.stack([self.blobs(*image.shape[1:], generator) for image in noisy.healthy])
        return replace(noisy, noise=noisy.noise + blobs.to(noisy.noise))

    def blobs(self, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        """What is added to the noise of one slice, float32 (1, height, width); 0 outside the blobs."""
        white = torch.randn(height, width, generator=generator)
        smooth = ndimage.gaussian_filter(white.numpy(), self.sigma)
        stretched = WHITE * (smooth - smooth.min()) / max(float(smooth.max() - smooth.min()), 1e-12)
        signs = SIGNS[self.sign]
        sign = signs[int(torch.randint(len(signs), (), generator=generator))]
        added = sign * (torch.rand(height, width, generator=generator) + self.offset)
        return (torch.from_numpy(stretched > self.threshold) * added).unsqueeze(0)
