"""What the frozen denoiser makes of synthetic slices, as the learned map will see it in a detection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from conddiffusion_uad.method.anomaly_map.learned_inputs import SliceInputs, with_reconstruction
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.learned_map.batches import Batch, Batches

RESTORE = OneStep((100, 300))  # one timestep that keeps detail, one that forgets lesions
_LEAST_SHARE = 0.5  # of brain in a pixel of the bundle's grid, as the detection cuts it


@torch.inference_mode()
def reconstructions(inputs: SliceInputs, model: ConditionedDiffusion, seed: int) -> torch.Tensor:
    """Reconstruct the slices at half size: (samples, B, 1, H / 2, W / 2), 0 to 1.

    Args:
        inputs: Slices at full size.
        model: Frozen, on the device of the inputs, with a denoiser that sees nothing beside the slice.
        seed: Of the noise; every slice and timestep has its own.
    """
    share = functional.avg_pool2d(inputs.brain.float(), 2)
    scan = functional.avg_pool2d(inputs.fine[:, 1:2] * inputs.brain, 2) / share.clamp(min=_LEAST_SHARE)
    inside = share >= _LEAST_SHARE
    scan = (scan * inside).contiguous()
    return RESTORE(model, Slices.of(scan), Seeds(seed, np.arange(len(scan)))).clamp(0, 1) * inside


class Reconstructed(Dataset[Batch]):
    """Batches by number, some of which come with reconstructions.

    Args:
        batches: Without them.
        model: That reconstructs, frozen; None for no reconstructions.
        every: Every how many-th batch has them; 0 for none.
    """

    def __init__(self, batches: Batches, model: ConditionedDiffusion | None, every: int) -> None:
        self._batches, self._model, self._every = batches, model, every

    def __getitem__(self, number: int) -> Batch:
        """Batch ``number``, where the model is."""
        return self.completed(self._batches[number], number)

    def completed(self, batch: Batch, number: int) -> Batch:
        """The batch as that of its number: with reconstructions or without."""
        if self._model is None or not self._every or number % self._every:
            return batch
        samples = reconstructions(batch.inputs, self._model, number)
        return replace(batch, inputs=with_reconstruction(batch.inputs, samples))
