"""What the frozen denoiser makes of synthetic slices, as the learned map will see it in a detection."""

from __future__ import annotations

import torch
from torch.nn import functional

from conddiffusion_uad.method.anomaly_map.learned_inputs import SliceInputs
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

LEVELS = (100, 300)  # noise levels: one that keeps detail, one that forgets lesions
_LEAST_SHARE = 0.5  # of brain in a pixel of the bundle's grid, as the detection cuts it


@torch.inference_mode()
def reconstructions(inputs: SliceInputs, model: ConditionedDiffusion, seed: int, levels=LEVELS) -> torch.Tensor:
    """Reconstruct the slices at half size: (levels, B, 1, H / 2, W / 2), 0 to 1.

    Args:
        inputs: Slices at full size.
        model: Frozen, on the device of the inputs.
        seed: Of the noise; every slice and level has its own.
        levels: Noise levels.
    """
    share = functional.avg_pool2d(inputs.brain.float(), 2)
    scan = functional.avg_pool2d(inputs.fine[:, 1:2] * inputs.brain, 2) / share.clamp(min=_LEAST_SHARE)
    inside = share >= _LEAST_SHARE
    scan = (scan * inside).contiguous()
    slices = Slices.of(scan)
    condition = model.encoder(slices)
    made = []
    for k, level in enumerate(levels):
        noise = model.noise([(seed * len(levels) + k) * len(scan) + i for i in range(len(scan))], scan)
        t = torch.full((len(scan),), level, device=scan.device)
        made.append(model(slices, t, noise, condition).clamp(0, 1) * inside)
    return torch.stack(made)
