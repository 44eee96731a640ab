"""Batches of slabs mixed from all sources."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.anatomy_sampler import AnatomySampler
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.data.scan_sampler import ScanSampler
from conddiffusion_uad.training.data.slabs import Slabs, View


class BatchSampler:
    """Batches mixed from the parts of a corpus according to the weights of their sources.

    Args:
        corpus: What is drawn from; sources without weight are not.
        contrasts: What label maps, and T1 scans, are turned into.
    """

    def __init__(
        self,
        corpus: Sequence[Part],
        device: torch.device,
        view: View,
        contrasts: Sequence[str] = CONTRASTS,
        ghosting: float = 0.0,
    ) -> None:
        corpus = [part for part in corpus if part.source.weight]
        self._weights = torch.tensor([part.source.weight for part in corpus])
        self._samplers = [
            AnatomySampler(part.fit, device, view, contrasts, ghosting)
            if part.source.kind == "labels"
            else ScanSampler(part.fit, device, view, contrasts)
            for part in corpus
        ]

    def draw(self, count: int, generator: torch.Generator) -> Slabs:
        """A batch of slabs."""
        chosen = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        counts = torch.bincount(chosen, minlength=len(self._samplers)).tolist()
        drawn = enumerate(zip(self._samplers, counts, strict=True))
        return Slabs.cat([sampler.draw(n, generator).of_source(place) for place, (sampler, n) in drawn if n])
