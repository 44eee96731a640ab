"""The pseudo-healthy reconstruction: encode, noise, denoise, average over noise levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol.events import Progress, Quiet
from conddiffusion_uad.protocol.explanation import is_out_of_memory

BATCH = 16  # slices at once
LEVELS = 4  # noise levels at once


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
    batch: int = BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """Reconstruct every axial slice as the model thinks it would look healthy.

    Args:
        volume: Normalized scan in [0, 1], axes (z, y, x); y and x are multiples of ``model.divisor``.
        mask: Brain mask, same shape. Slices without brain are left 0.
        model: Trained model, on the device that shall compute.
        levels: Noise levels to average over; each costs one forward pass a slice.
        seed: Seed of the noise.
        batch: Slices at once. Their number decides the last digits of the result.
        progress: Told after every batch.

    Returns:
        The mean of the estimates over the levels, clamped to [0, 1], 0 outside the mask; float32, same shape.

    Raises:
        Cancelled: From ``progress``.
    """
    progress = progress or Quiet()
    seeds = {level: slice_seeds(seed, level, len(volume)) for level in levels}
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    batches = [filled[start : start + batch] for start in range(0, len(filled), batch)]
    result = np.zeros(volume.shape, np.float32)
    for done, index in enumerate(batches):
        progress.advance(done / len(batches))
        result[index] = _reconstruct_batch(volume[index], index, model, seeds)
    progress.advance(1.0)
    return np.where(mask, np.clip(result, 0, 1), 0).astype(np.float32)


def reconstruct_within_memory(
    volume: np.ndarray,
    mask: np.ndarray,
    model: ConditionedDiffusion,
    *,
    levels: Sequence[int],
    seed: int,
    batch: int,
    progress: Progress,
) -> tuple[np.ndarray, int]:
    """`reconstruct`; when the memory does not suffice, again from the start with half the batch, and with a warning.

    It starts anew, so that the result is that of one batch size and can be had again.

    Returns:
        The reconstruction, and the batch that it was made with.

    Raises:
        MemoryError, RuntimeError: The memory does not suffice for one slice.
        Cancelled: From ``progress``.
    """
    while True:
        try:
            made = reconstruct(volume, mask, model, levels=levels, seed=seed, batch=batch, progress=progress)
            return made, batch
        except (MemoryError, RuntimeError) as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        # Out here the error is gone, and with it the references to what the failed attempt had allocated.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        tried, batch = batch, batch // 2
        progress.warning(
            "batch_halved",
            f"The memory did not suffice for {tried} slices at once; the run goes on with {batch}.",
            "It takes a little longer. Closing other programs helps the next time.",
        )


def _reconstruct_batch(
    batch: np.ndarray, index: np.ndarray, model: ConditionedDiffusion, seeds: dict[int, list[int]]
) -> np.ndarray:
    device = next(model.parameters()).device
    slices = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).unsqueeze(1).to(device)
    features, total = model.encoder(slices), torch.zeros_like(slices)
    levels = list(seeds)
    for start in range(0, len(levels), LEVELS):
        group = levels[start : start + LEVELS]
        noise = torch.cat([model.noise([seeds[level][i] for i in index], slices) for level in group])
        level = torch.tensor(group, device=device).repeat_interleave(len(slices))
        clean, condition = (torch.cat([values] * len(group)) for values in (slices, features))
        total += model(clean, level, noise, condition).view(len(group), *slices.shape).sum(dim=0)
    return (total / len(levels)).squeeze(1).cpu().numpy()
