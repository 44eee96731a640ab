"""What the learned anomaly map is told about a slice: the same channels in training and in a detection.

At full size (1 mm): the slice and its neighbors above and below, the mirrored slice, the rank of its intensities.
At half size (2 mm, the bundle's grid): the slices two away, the contrast, the place in the atlas, how often the atlas'
brains have which tissue there, and what the denoiser makes of the slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

CONTRASTS = ("T1", "T2", "FLAIR")
NEIGHBORS = 2  # slices above and below that are looked at
FINE_CHANNELS, PRIORS = 5, 4
RECONSTRUCTED = 4  # mean, 4 (scan - mean), 4 x spread, and a flag that they are known
COARSE_CHANNELS = 2 + len(CONTRASTS) + 3 + PRIORS + RECONSTRUCTED
BOX = ((-76.0, 84.0), (-80.0, 112.0), (-80.0, 80.0))  # mm along z, y, x of the atlas that priors fill
_STEPS = 1024  # of intensity, between which ranks are not told apart
_GAIN = 4.0  # of differences, so that they are about as large as intensities


@dataclass(frozen=True)
class SliceInputs:
    """Channels of a batch of slices.

    Attributes:
        fine: (B, FINE_CHANNELS, H, W).
        coarse: (B, COARSE_CHANNELS, H / 2, W / 2).
        brain: (B, 1, H, W) boolean.
    """

    fine: torch.Tensor
    coarse: torch.Tensor
    brain: torch.Tensor


def slice_inputs(
    volume: torch.Tensor,
    rank: torch.Tensor,
    mask: torch.Tensor,
    chosen: torch.Tensor,
    contrast: str | None,
    place: torch.Tensor | None,
    mirror: torch.Tensor | None = None,
) -> SliceInputs:
    """Channels of some slices of a scan; those of the reconstruction are left empty, see :func:`with_reconstruction`.

    Args:
        volume: Normalized scan (Z, H, W), 1 mm in plane.
        rank: Of each intensity in its brain, 0 to 1, same shape.
        mask: Brain, boolean, same shape.
        chosen: Indices of the slices; neighbors beyond the ends are the end slices.
        contrast: None (or another than CONTRASTS) when unknown.
        place: (3 + PRIORS, Z, H / 2, W / 2) from :func:`atlas_place`; None when unknown.
        mirror: The scan mirrored at the mid-plane, same shape; None when that is the middle of the volume.
    """
    last = len(volume) - 1
    near = {step: volume[(chosen + step).clamp(0, last)] for step in range(-NEIGHBORS, NEIGHBORS + 1)}
    other = near[0].flip(-1) if mirror is None else mirror[chosen]
    fine = torch.stack([near[-1], near[0], near[1], other, rank[chosen]], 1)
    far = functional.avg_pool2d(torch.stack([near[-2], near[2]], 1), 2)
    height, width = far.shape[-2:]
    code = torch.tensor([float(contrast == name) for name in CONTRASTS], device=volume.device)
    constant = code[None, :, None, None].expand(len(chosen), -1, height, width)
    where = (
        torch.zeros(len(chosen), 3 + PRIORS, height, width, device=volume.device)
        if place is None
        else place[:, chosen].transpose(0, 1)
    )
    empty = torch.zeros(len(chosen), RECONSTRUCTED, height, width, device=volume.device)
    return SliceInputs(fine, torch.cat([far, constant, where, empty], 1), mask[chosen, None])


def with_reconstruction(inputs: SliceInputs, samples: torch.Tensor) -> SliceInputs:
    """The channels with what the denoiser made of the slices.

    Args:
        samples: Reconstructions at half size, 0 to 1, (samples, B, 1, H / 2, W / 2).
    """
    mean, spread = samples.mean(0), samples.amax(0) - samples.amin(0)
    scan = functional.avg_pool2d(inputs.fine[:, 1:2], 2)
    brain = functional.avg_pool2d(inputs.brain.to(scan), 2)
    known = [mean * brain, _GAIN * (scan - mean) * brain, _GAIN * spread * brain, torch.ones_like(mean)]
    coarse = torch.cat([inputs.coarse[:, :-RECONSTRUCTED], *known], 1)
    return SliceInputs(inputs.fine, coarse, inputs.brain)


def atlas_place(z: torch.Tensor, y: torch.Tensor, x: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
    """Coordinates from -1 to 1 (z, y, |x|) and tissue priors at half-size pixels, (3 + PRIORS, Z, Y, X).

    Args:
        z, y, x: Pixel centers, atlas LPS mm.
        priors: (PRIORS, Z', Y', X') from 0 to 1, filling BOX.
    """
    inside = [2 * (axis - low) / (high - low) - 1 for axis, (low, high) in zip((z, y, x), BOX, strict=True)]
    depth, height, width = torch.meshgrid(*inside, indexing="ij")
    where = torch.stack([width, height, depth], -1)[None]
    known = functional.grid_sample(priors[None], where, padding_mode="border", align_corners=False)[0]
    return torch.cat([torch.stack([depth, height, 2 * width.abs() - 1]), known])


def ranks(volume: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Rank, 0 to 1, of each intensity among those of a brain, told in steps of intensity; equal ones share the middle.

    Args:
        volume: Intensities from 0 to 1, any shape.
        probe: The intensities inside the brain, or a sample of them, flat.
    """
    counts = torch.bincount((probe * (_STEPS - 1)).round().long(), minlength=_STEPS).to(volume.dtype)
    middle = (counts.cumsum(0) - counts / 2) / max(len(probe), 1)
    return middle[(volume * (_STEPS - 1)).round().long()]
