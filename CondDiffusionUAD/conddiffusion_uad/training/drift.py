"""Finding the drift that fits a bundle to another scanner, on a few of its healthy scans; see
``method.adapt.drift``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.method.adapt.drift import Drift
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.copies import copy_with, require_apart
from conddiffusion_uad.training.data.loose_scans import prepared_scans
from conddiffusion_uad.training.environment import TrainingEnvironment
from conddiffusion_uad.training.progress import TrainingLog

SHIFTS = tuple(float(shift) for shift in np.linspace(-0.2, 0.2, 41).round(2))
BINS = 64  # of a histogram of intensities in [0, 1]
FEW = 5  # scans; with fewer, the shift is that of these people rather than of the scanner
SLICES = 12  # of each scan, at equal distances: restoring all of them so often would take hours
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class Found:
    """The shift that brings reconstructions nearest to the scans.

    Attributes:
        shift: See ``Drift``.
        without: The difference of the histograms with no shift, 0 to 1, mean over the scans.
        difference: The same with this one.
        scans: How many there are.
    """

    shift: float
    without: float
    difference: float
    scans: int


def drift_bundle(name: str, contrast: str, output: Path, environment: TrainingEnvironment, log: TrainingLog) -> None:
    """Write a copy of a bundle whose noise drifts so that it fits the healthy scans of a folder.

    Args:
        contrast: Of the scans, or "auto" for what their names and tags say.
        environment: The folder of the scans, and the device.

    Raises:
        BadInput: ``no_healthy_scan``, ``bad_drift_data``, ``adapts_already`` or ``bad_option`` for such an output.
        BundleFailure, DeviceFailure, OutputFailure: The bundle, the device or the output cannot be used.
    """
    environment.require_new([output])
    device = choose(environment.device)
    bundle = bundles.load(name).to(device, environment.precision)
    require_apart(bundle, output)
    if not isinstance(bundle.method.adapt, (Drift, type(None))):
        raise BadInput("adapts_already", f"The bundle {bundle.name} adapts in another way.", "Choose another bundle.")
    brains = local_brains(bundle, contrast, environment, log)
    found = find_shift(lambda shift: _restored(bundle, brains, shift), SHIFTS)
    log(
        f"With a shift of {found.shift:g}, intensities of {found.scans} scans and their reconstructions differ by "
        f"{found.difference:.1%} (without one {found.without:.1%})"
    )
    copy_with(bundle, replace(bundle.method, adapt=Drift(found.shift)), output, {"drift": asdict(found)})
    log(f"Wrote {output}, with the calibration of {bundle.name}: it was measured without the shift")


def local_brains(
    bundle: Bundle, contrast: str, environment: TrainingEnvironment, log: TrainingLog
) -> list[tuple[Volume, str]]:
    """The prepared scans of a folder with their contrasts; of each, only some slices count as brain.

    Raises:
        BadInput: ``no_healthy_scan`` when there is none; ``bad_drift_data`` with a list of what is wrong with them.
    """
    folder = environment.data
    files = sorted(file for file in folder.rglob("*") if file.name.lower().endswith(_SUFFIXES))
    if not files:
        raise BadInput("no_healthy_scan", f"{folder} holds no scans.", f"Put healthy ones there: {volumes.FORMATS}.")
    if len(files) < FEW:
        log(f"{len(files)} scans are few: what is found may be theirs rather than the scanner's; {FEW} are better")
    scans = prepared_scans(files, contrast, bundle, "drift", log, skip_bad=environment.skip_bad)
    return [(_thinned(brain), chosen) for _, brain, chosen in scans]


def find_shift(restored: Callable[[float], Iterator[Restored]], shifts: Sequence[float]) -> Found:
    """The shift with the smallest difference of histograms; the one nearest to 0 of equal ones.

    Args:
        shifts: To try; 0 is among them.
    """
    tried = {shift: [histogram_difference(of_scan) for of_scan in restored(shift)] for shift in shifts}
    means = {shift: float(np.mean(differences)) for shift, differences in tried.items()}
    best = min(means, key=lambda shift: (round(means[shift], 6), abs(shift)))
    return Found(best, means[0.0], means[best], len(tried[best]))


def histogram_difference(restored: Restored) -> float:
    """The share of voxels that would have to move to make the histograms of scan and reconstruction equal, 0 to 1."""
    counts = [
        np.histogram(np.clip(values[restored.mask], 0, 1), BINS, (0, 1))[0]
        for values in (restored.volume, restored.mean)
    ]
    return float(np.abs(counts[0] - counts[1]).sum() / 2 / max(int(restored.mask.sum()), 1))


def _restored(bundle: Bundle, brains: Sequence[tuple[Volume, str]], shift: float) -> Iterator[Restored]:
    method = replace(bundle.method, adapt=Drift(shift))
    drifting = replace(bundle, config=replace(bundle.config, method=method))
    for brain, contrast in brains:
        yield restore(drifting, brain, contrast)


def _thinned(brain: Volume) -> Volume:
    """The brain of which only some slices count."""
    shown = np.flatnonzero(brain.mask.any(axis=(1, 2)))
    kept = shown[np.linspace(0, len(shown) - 1, min(SLICES, len(shown))).round().astype(int)]
    mask = np.zeros_like(brain.mask)
    mask[kept] = brain.mask[kept]
    return replace(brain, mask=mask)
