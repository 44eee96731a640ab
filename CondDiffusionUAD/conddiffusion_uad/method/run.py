"""Putting the parts together: the only place that calls a network for an anomaly map.

Detection, calibration, evaluation and studies call :func:`score`, or :func:`restore` when they want reconstructions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method import uncertainty as uncertainties
from conddiffusion_uad.method.brain import Brain, slices_of
from conddiffusion_uad.method.checks import finite
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol.events import Progress, Quiet
from conddiffusion_uad.protocol.explanation import is_out_of_memory
from conddiffusion_uad.protocol.failures import BadInput, BundleFailure

BATCH = 16  # slices at once


class Calibrated(Protocol):
    """What makes an anomaly score of a map; ``Calibration`` is one."""

    def score(self, anomaly_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The anomaly score, float32 (z, y, x), not negative, 0 outside the mask."""


class Trained(Protocol):
    """What can score a brain; ``bundle.bundle.Bundle`` is one."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def method(self) -> Method:
        """The parts of its method."""

    @property
    def model(self) -> ConditionedDiffusion:
        """The networks, on the device and in the form that compute."""

    @property
    def calibration(self) -> Mapping[str, Calibrated]:
        """What makes scores of maps, by contrast."""

    def adaptable(self) -> ConditionedDiffusion:
        """A copy of the networks in their plain form, on the device that computes, that may be changed."""

    def accelerated(self, model: ConditionedDiffusion) -> ConditionedDiffusion:
        """Networks in their plain form as a copy in the form that computes."""


@dataclass(frozen=True)
class Scored:
    """A brain and what a method says of it.

    Attributes:
        restored: The scan and its reconstructions, on the bundle's grid.
        seen: The same on the grid of the map, which may be finer.
        anomaly_map: In the map's own unit, float32 (z, y, x), not negative, 0 outside the mask of ``seen``.
        measures: Figures of the whole scan, by their names.
        calibration: The calibration for the scan's contrast; None in a bundle that has none yet.
        uncertainty: Of the score, in its unit, as :mod:`conddiffusion_uad.method.uncertainty` says; None when nobody
            asked.
    """

    restored: Restored
    seen: Restored
    anomaly_map: np.ndarray
    measures: Mapping[str, float | Sequence[float]]
    calibration: Calibrated | None
    uncertainty: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """Where the brain is on the grid of the map, boolean (z, y, x)."""
        return self.seen.mask

    @property
    def grid(self) -> Grid | None:
        """The grid of the map; None when it is not known."""
        return self.seen.grid

    @property
    def brain(self) -> Brain:
        """The scan on the grid of the map."""
        return self.seen.brain

    @cached_property
    def score(self) -> np.ndarray:
        """The anomaly score on the grid of the map, float32 (z, y, x), 0 outside the mask.

        Raises:
            BundleFailure: ``bundle_not_calibrated`` or ``not_finite_result``.
        """
        return self.score_of(self.anomaly_map)

    def score_of(self, anomaly_map: np.ndarray) -> np.ndarray:
        """The anomaly score that another map of this brain has; see :attr:`score`."""
        if self.calibration is None:
            raise BundleFailure(
                "bundle_not_calibrated",
                f"The bundle is not calibrated for {self.seen.contrast} scans.",
                "Calibrate it on healthy scans with: conddiffusion-uad train calibrate.",
            )
        return finite(self.calibration.score(anomaly_map, self.mask))


def score(
    bundle: Trained,
    brain: Brain,
    contrast: str,
    *,
    timesteps: Sequence[int] | None = None,
    seed: int = 0,
    batch: int = BATCH,
    uncertainty: bool = False,
    progress: Progress | None = None,
) -> Scored:
    """Make the anomaly map of a prepared brain.

    Args:
        bundle: Trained; its networks are on the device that shall compute.
        brain: Such as ``preparation.prepare`` makes, or a :class:`Volume`.
        contrast: One that the bundle is made for.
        timesteps: Instead of the method's own; the calibration holds for those.
        seed: The seed of the noise.
        batch: Slices at once, see :func:`restore`.
        uncertainty: Whether to tell that of the score, too; each sample then costs one more map.
        progress: Told the stages "reconstruct" and "score", and how far the first is; may end the run.

    Raises:
        BadInput: ``contrast_not_in_bundle`` or ``bad_option`` for such timesteps.
        BundleFailure: ``not_finite_result`` when the networks give values that are not numbers.
        MemoryError, RuntimeError: The memory does not suffice for one slice.
        Cancelled: From ``progress``.
    """
    progress = progress or Quiet()
    require_contrast(bundle, contrast)
    progress.stage("reconstruct")
    method = bundle.method.at(timesteps)
    with _networks(bundle, method, brain, contrast) as model, torch.no_grad():
        restored = _restored(model, method, brain, contrast, seed, batch, progress)
        progress.stage("score")
        scored = _scored(bundle, method, restored, model)
        return _with_uncertainty(scored, method, model, progress) if uncertainty else scored


def restore(
    bundle: Trained,
    brain: Brain,
    contrast: str,
    *,
    timesteps: Sequence[int] | None = None,
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Restored:
    """Reconstruct a prepared brain as the model thinks that it would look healthy; the first half of :func:`score`.

    When the memory does not suffice, it starts anew with half the batch and with a warning, so that the result is that
    of one batch size and can be had again.

    Args:
        bundle, brain, contrast, timesteps, seed: See :func:`score`.
        batch: Slices at once. Their number decides the last digits of the result.

    Raises:
        BadInput, BundleFailure, MemoryError, RuntimeError, Cancelled: See :func:`score`.
    """
    require_contrast(bundle, contrast)
    method = bundle.method.at(timesteps)
    with _networks(bundle, method, brain, contrast) as model, torch.no_grad():
        return _restored(model, method, brain, contrast, seed, batch, progress or Quiet())


def require_contrast(bundle: Trained, contrast: str) -> None:
    """Raise BadInput("contrast_not_in_bundle") unless a bundle is made for a contrast."""
    known = bundle.method.anomaly_map
    if contrast not in known:
        raise BadInput(
            "contrast_not_in_bundle",
            f"The bundle {bundle.name} was not made for {contrast} scans.",
            f"It knows {', '.join(known)}; choose another --bundle or another scan.",
        )


def _scored(bundle: Trained, method: Method, restored: Restored, model: ConditionedDiffusion) -> Scored:
    part = method.anomaly_map[restored.contrast]
    seen = restored.at(getattr(part, "spacing", None))
    measures = {name: value for measure in method.measures for name, value in measure(restored, model).items()}
    found = finite(part(seen, model))
    return Scored(restored, seen, found, measures, bundle.calibration.get(restored.contrast))


def _with_uncertainty(scored: Scored, method: Method, model: ConditionedDiffusion, progress: Progress) -> Scored:
    part = method.anomaly_map[scored.restored.contrast]

    count = 1 + len(scored.restored.samples)
    made = iter(range(1, count))  # the map of all samples is there

    def score(restored: Restored) -> np.ndarray:
        progress.advance(next(made) / count)  # here the run may end
        return scored.score_of(finite(part(restored.at(getattr(part, "spacing", None)), model)))

    return replace(scored, uncertainty=uncertainties.uncertainty(score, scored.restored))


@contextmanager
def _networks(bundle: Trained, method: Method, brain: Brain, contrast: str) -> Iterator[ConditionedDiffusion]:
    """The networks for a brain, in the form that the method needs and fitted to the brain if it says so.

    The bundle's own stay as they are.
    """
    if method.adapt is None:
        yield bundle.adaptable() if method.plain else bundle.model
        return
    model = bundle.adaptable()
    slices = slices_of(brain, method.context, contrast, _filled(brain.mask)).to(model.device)
    with method.adapt(model, slices) as adapted:
        yield adapted if method.plain else bundle.accelerated(adapted)


def _restored(
    model: ConditionedDiffusion, method: Method, brain: Brain, contrast: str, seed: int, batch: int, progress: Progress
) -> Restored:
    while True:
        try:
            samples = _samples(model, method, brain, contrast, seed, batch, progress)
            restored = Restored(brain, contrast, samples, batch)
            finite(restored.mean)
            return restored
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


def _samples(
    model: ConditionedDiffusion, method: Method, brain: Brain, contrast: str, seed: int, batch: int, progress: Progress
) -> np.ndarray:
    """Reconstructions, float32 (S, z, y, x), 0 outside the mask; slices without brain cost nothing."""
    filled = _filled(brain.mask)
    batches = [filled[start : start + batch] for start in range(0, len(filled), batch)]
    samples = np.zeros((1, *brain.volume.shape), np.float32)
    for done, index in enumerate(batches):
        progress.advance(done / len(batches))
        slices = slices_of(brain, method.context, contrast, index).to(model.device)
        with _before_each_pass(model, partial(progress.advance, done / len(batches))):  # for there may be many
            made = method.restore(model, slices, Seeds(seed, index)).squeeze(2).cpu().numpy()
        if len(samples) != len(made):
            samples = np.zeros((len(made), *brain.volume.shape), np.float32)
        samples[:, index] = made
    progress.advance(1.0)
    samples[:, ~brain.mask] = 0
    return samples


@contextmanager
def _before_each_pass(model: ConditionedDiffusion, tell: Callable[[], None]) -> Iterator[None]:
    """Meanwhile, call something before each pass of the networks on this thread; what it raises ends the pass."""
    here = threading.get_ident()

    def hook(*_: object) -> None:
        if threading.get_ident() == here:
            tell()

    handle = model.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _filled(mask: np.ndarray) -> np.ndarray:
    """Positions along z of the slices that show brain."""
    return np.flatnonzero(mask.any(axis=(1, 2)))
