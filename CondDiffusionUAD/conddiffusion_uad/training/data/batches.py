"""The batch of each step: drawn from a mixture of sources, or going through all scans epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from conddiffusion_uad.model.fast.parallel import single_threads
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.anatomy_sampler import AnatomySampler
from conddiffusion_uad.training.data.augmentation import Augmentation
from conddiffusion_uad.training.data.corpus import Part, Scan
from conddiffusion_uad.training.data.scan_sampler import ScanSampler
from conddiffusion_uad.training.data.slabs import Slabs, View, around
from conddiffusion_uad.training.recipe import Recipe

Drawn = TypeVar("Drawn")


class Batches(Protocol):
    """A source of batches.

    Attributes:
        size: Slabs in a batch.
        per_epoch: Batches in which every scan comes once.
    """

    size: int
    per_epoch: int

    def at(self, step: int, generator: torch.Generator) -> Slabs:
        """The batch of a step; the same for the same randomness."""


class Sampler(Protocol):
    """What draws slabs without end, such as :class:`BatchSampler`."""

    def draw(self, count: int, generator: torch.Generator) -> Slabs: ...


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


class Mixture:
    """Batches that a sampler draws without end."""

    def __init__(self, sampler: Sampler, size: int, scans: int = 0) -> None:
        self.size = size
        self.per_epoch = max(scans // size, 1)
        self._sampler = sampler

    def at(self, step: int, generator: torch.Generator) -> Slabs:
        return self._sampler.draw(self.size, generator)


class Epochs:
    """One random slice of every scan in each epoch, in random order; the last, smaller batch is dropped.

    Slices without brain come as often as others, as in the published training.

    Args:
        scans: To go through, each with the position of its source; they stay on disk.
        augmentation: Of the volumes before the slice is taken.

    Raises:
        BadInput: ``no_training_data`` when there are fewer scans than slabs in a batch.
    """

    def __init__(
        self, scans: Sequence[tuple[Scan, int]], size: int, seed: int, augmentation: Augmentation, view: View
    ) -> None:
        if len(scans) < size:
            raise BadInput(
                "no_training_data",
                f"{len(scans)} scans do not fill a batch of {size}.",
                "Give more, or a smaller batch.",
            )
        self.size = size
        self.per_epoch = len(scans) // size
        self._scans, self._seed, self._augmentation, self._view = scans, seed, augmentation, view

    def at(self, step: int, generator: torch.Generator) -> Slabs:
        epoch, batch = divmod(step, self.per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._scans))
        drawn = [self._scans[index] for index in order[batch * self.size : (batch + 1) * self.size]]
        chosen, sources = zip(*drawn, strict=True)
        z = [int(torch.randint(len(scan.volume), (), generator=generator)) for scan in chosen]
        images = torch.cat([self._images(scan, at, generator) for scan, at in zip(chosen, z, strict=True)])
        brain = np.concatenate([around(s.mask, at, self._view.reach) for s, at in zip(chosen, z, strict=True)]) > 0
        places = [scan.first + at for scan, at in zip(chosen, z, strict=True)]
        contrasts = [scan.contrast for scan in chosen]
        slabs = Slabs.of(images.unsqueeze(1), torch.from_numpy(brain).unsqueeze(1), places, contrasts, self._view)
        return slabs.of_source(torch.tensor(sources))

    def _images(self, scan: Scan, z: int, generator: torch.Generator) -> torch.Tensor:
        reach, spacing = self._view.reach, self._view.grid.spacing
        wanted = range(z - reach, z + reach + 1)
        return self._augmentation.slices_of(torch.from_numpy(scan.volume), wanted, spacing, generator)


def batches(
    recipe: Recipe, corpus: Sequence[Part], size: int, device: torch.device, *, augment: bool = True
) -> Mixture | Epochs:
    """The batches of a recipe. Raises BadInput("no_training_data") when there is nothing to fill one with.

    Args:
        corpus: What is learned from; sources without weight are not.
        augment: Whether scans that are gone through epoch by epoch are augmented.
    """
    corpus = [part for part in corpus if part.source.weight]
    if not corpus:
        raise BadInput("no_training_data", "No source of the recipe has a weight.", "Give one a weight above 0.")
    view = View(recipe.bundle.grid, recipe.bundle.method.context)
    if recipe.sampling.order == "mixture":
        sampler = BatchSampler(corpus, device, view, recipe.bundle.contrasts, recipe.sampling.ghosting)
        return Mixture(sampler, size, sum(len(part.fit) for part in corpus))
    scans = [(scan, place) for place, part in enumerate(corpus) for scan in part.fit]
    augmentation = recipe.sampling.augmentation if augment else Augmentation()
    return Epochs(scans, size, recipe.seed, augmentation, view)


class Ahead(Generic[Drawn]):
    """Draws for the steps to come while the present one is computed.

    Args:
        draw: What to draw for a step; called from several threads.
        threads: How many, and how many steps ahead; none where drawing and computing would only take the processor
            from each other.
    """

    def __init__(self, draw: Callable[[int], Drawn], threads: int, steps: int) -> None:
        self._draw, self._threads, self._steps = draw, threads, steps
        self._pool = single_threads(threads, "draw") if threads else None
        self._coming: dict[int, Future[Drawn]] = {}

    def __call__(self, step: int) -> Drawn:
        """What was drawn for a step."""
        if self._pool is None:
            return self._draw(step)
        wanted = range(step, min(step + self._threads + 1, self._steps))
        self._coming = {at: self._coming.get(at) or self._pool.submit(self._draw, at) for at in wanted}
        return self._coming.pop(step).result()
