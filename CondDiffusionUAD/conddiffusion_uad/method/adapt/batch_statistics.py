"""Batch normalization by the statistics of the scan at hand.

Paper: Li et al. 2018, "Adaptive Batch Normalization for practical domain adaptation", arXiv:1603.04779.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number


@dataclass(frozen=True)
class BatchStatistics:
    """The encoder's running means and variances move towards those of the scan (AdaBN, Li et al. 2018).

    Attributes:
        share: How far: 0 keeps those of the training, 1 takes those of the scan.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not is_number(self.share, 0, 1):
            raise ValueError("share is a number from 0 to 1")

    @contextmanager
    def __call__(self, model: ConditionedDiffusion, slices: Slices) -> Iterator[ConditionedDiffusion]:
        """The model with adapted statistics; the earlier ones stand again afterwards."""
        layers = [layer for layer in model.encoder.modules() if isinstance(layer, _BatchNorm)]
        earlier = [({k: v.clone() for k, v in layer.state_dict().items()}, layer.momentum) for layer in layers]
        try:
            for layer in layers:
                layer.train().momentum = self.share
            with torch.no_grad():
                model.encoder(slices)
            for layer in layers:
                layer.eval()
            yield model
        finally:
            for layer, (state, momentum) in zip(layers, earlier, strict=True):
                layer.eval().momentum = momentum
                layer.load_state_dict(state)
