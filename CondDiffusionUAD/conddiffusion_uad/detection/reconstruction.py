"""The pseudo-healthy reconstruction: encode, noise, denoise, average over noise levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol import Progress, Quiet

BATCH = 16  # slices at once


def slice_seeds(seed: int, level: int, count: int) -> list[int]:
    """A seed for the noise field of each slice: independent between slices, levels and runs' seeds."""
    states = np.random.SeedSequence([seed, level]).generate_state(count, np.uint32)
    return [int(state) for state in states]


@torch.inference_mode()
def reconstruct(
    volume: np.ndarray,
    mask: np.ndarray,
    model: ConditionedDiffusion,
    *,
    levels: Sequence[int],
    seed: int = 0,
    progress: Progress | None = None,
) -> np.ndarray:
    """Reconstruct every axial slice as the model thinks it would look healthy.

    Args:
        volume: Normalized scan in [0, 1], axes (z, y, x); y and x are multiples of ``model.divisor``.
        mask: Brain mask, same shape. Slices without brain are left 0.
        model: Trained model, on the device that shall compute.
        levels: Noise levels to average over; each costs one forward pass a slice.
        seed: Seed of the noise.
        progress: Told after every batch.

    Returns:
        The mean of the estimates over the levels, clamped to [0, 1], 0 outside the mask; float32, same shape.

    Raises:
        Cancelled: From ``progress``.
    """
    progress = progress or Quiet()
    seeds = {level: slice_seeds(seed, level, len(volume)) for level in levels}
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    batches = [filled[start : start + BATCH] for start in range(0, len(filled), BATCH)]
    result = np.zeros(volume.shape, np.float32)
    for done, index in enumerate(batches):
        progress.advance(done / len(batches))
        result[index] = _reconstruct_batch(volume[index], index, model, seeds)
    progress.advance(1.0)
    return np.where(mask, np.clip(result, 0, 1), 0).astype(np.float32)


def _reconstruct_batch(
    batch: np.ndarray, index: np.ndarray, model: ConditionedDiffusion, seeds: dict[int, list[int]]
) -> np.ndarray:
    device = next(model.parameters()).device
    slices = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).unsqueeze(1).to(device)
    features, total = model.encoder(slices), torch.zeros_like(slices)
    for level, level_seeds in seeds.items():
        noise = model.noise([level_seeds[i] for i in index], slices)
        total += model(slices, torch.full((len(slices),), level, device=device), noise, features)
    return (total / len(seeds)).squeeze(1).cpu().numpy()
