"""What a run will need of a computer: memory, room on the disk, time; and whether they are there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import SimpleITK as sitk
from torch import nn

from conddiffusion_uad.app import computer
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import restore, score
from conddiffusion_uad.protocol.events import STAGES, Progress, Quiet
from conddiffusion_uad.protocol.failures import DeviceFailure, OutputFailure

BYTES_PER_VOXEL = 45.0  # of the scan; measured with 9 to 48 million voxels, with and without skull
SKULL_BYTES = 450e6  # of the network that strips skulls, whatever the scan
MAPS = 36.0  # feature maps of the network's first width that a slice holds at its peak, measured
DISK_BYTES_PER_VOXEL = 3.0  # of compressed results; stripped scans take half of it
USUAL_VOXELS = 8.7e6  # of the scan that the seconds in `protocol.STAGES` are of
FEW = 3  # noise levels that a slice is tried with; what is made once for all of them counts for less with more
GROWING = {  # share of the seconds of a stage that grows with the voxels; the rest is the same for every scan
    "read": 1.0,
    "strip": 0.5,
    "bias": 0.5,
    "normalize": 1.0,
    "resample": 1.0,
    "restore": 1.0,
    "findings": 1.0,
    "report": 0.5,
}


@dataclass(frozen=True)
class Needs:
    """An estimate, made before the run.

    Attributes:
        memory_mb: Beyond what the process holds once the bundle is loaded.
        disk_mb: Of the results.
        seconds: Of each stage, were the computer busy with nothing else; None when a graphics card computes, which is
            quick.
    """

    memory_mb: float
    disk_mb: float
    seconds: Mapping[str, float] | None

    def require(self, folder: Path, progress: Progress) -> None:
        """Warn when the memory is scarce, and refuse to begin what cannot end well.

        Raises:
            DeviceFailure: "out_of_memory" when the computer has less memory than is needed.
            OutputFailure: "disk_full" when there is less room than is needed.
        """
        free = computer.free_disk_mb(folder)
        if free is not None and free < self.disk_mb:
            raise OutputFailure(
                "disk_full",
                f"The results take about {self.disk_mb:.0f} MB, and only {free:.0f} MB are free for {folder}.",
                "Free some space, or choose an --output folder on another disk.",
            )
        memory = computer.memory()
        if memory is None or self.memory_mb <= memory.available:
            return
        needed = f"The run needs about {self.memory_mb / 1000:.1f} GB more memory"
        if self.memory_mb > memory.total:
            raise DeviceFailure(
                "out_of_memory",
                f"{needed}, and this computer has {memory.total / 1000:.1f} GB in all.",
                "Use a scan with fewer voxels, a smaller --batch or a computer with more memory.",
            )
        progress.warning(
            "memory_scarce",
            f"{needed}, and {memory.available / 1000:.1f} GB are free: it may be slow or fail.",
            "Close other programs.",
        )


def estimate(
    scan: sitk.Image, bundle: Bundle, *, levels: Sequence[int] | None, batch: int, uncertainty: bool = False
) -> Needs:
    """What a detection will need.

    Args:
        levels: Noise levels; None for the bundle's own.
        uncertainty: Whether that of the score is told, which takes a map more for each reconstruction.
    """
    voxels = float(scan.GetNumberOfPixels())
    memory, seconds = SKULL_BYTES + BYTES_PER_VOXEL * voxels, None
    if next(bundle.model.parameters()).device.type == "cpu":
        memory += batch * _bytes_per_slice(bundle)
        seconds = _seconds(voxels, bundle, levels or bundle.config.timesteps, uncertainty)
    return Needs(memory / 1e6, DISK_BYTES_PER_VOXEL * voxels / 1e6, seconds)


def _bytes_per_slice(bundle: Bundle) -> float:
    """Memory of the network's feature maps, float32, for one slice."""
    columns, rows, _ = bundle.config.grid.size
    denoiser = bundle.config.denoiser
    return MAPS * 4.0 * denoiser["base"] * columns * rows / denoiser.get("patch", 1) ** 2


def _seconds(voxels: float, bundle: Bundle, levels: Sequence[int], uncertainty: bool) -> dict[str, float]:
    """Expected seconds of each stage: the usual ones for this size; reconstruction and map by trying one slice."""
    more = voxels / USUAL_VOXELS - 1.0
    seconds = {name: usual * (1.0 + GROWING.get(name, 0.0) * more) for name, usual in STAGES.items()}
    columns, rows, slices = bundle.config.grid.size
    few, all_of_them = (bundle.method.at(some).restore.passes(rows, columns) for some in (levels[:FEW], levels))
    if bundle.model not in _tried:
        a_map = _one_map(bundle, levels[:FEW])  # the first time also sets things up
        _tried[bundle.model] = _one_slice(bundle, levels[:FEW]) / few, a_map
    a_pass, a_map = (each * slices for each in _tried[bundle.model])
    maps = 1 + (bundle.method.at(levels).restore.samples if uncertainty else 0)
    return {**seconds, "reconstruct": a_pass * all_of_them, "score": max(seconds["score"], a_map * maps)}


_tried: WeakKeyDictionary[nn.Module, tuple[float, float]] = WeakKeyDictionary()
"""Seconds of one pass over a slice, and of its map, by the network."""


def _one_slice(bundle: Bundle, levels: Sequence[int]) -> float:
    """Seconds of the reconstruction of one slice: those in which this thread computed, so that other programs, and how
    many there are just now, do not count."""
    columns, rows, _ = bundle.config.grid.size
    blank = Volume(np.zeros((1, rows, columns), np.float32), np.ones((1, rows, columns), bool))
    begin = time.thread_time()
    restore(bundle, blank, bundle.config.contrasts[0], timesteps=levels)
    return time.thread_time() - begin


def _one_map(bundle: Bundle, levels: Sequence[int]) -> float:
    """Seconds, as :func:`_one_slice` has them, of the map of one slice."""
    grid = bundle.config.grid
    columns, rows, _ = grid.size
    noise = np.random.default_rng(0).uniform(0.1, 0.9, (1, rows, columns)).astype(np.float32)
    slab = Volume(noise, np.ones(noise.shape, bool), replace(grid, size=(columns, rows, 1)))
    reached = _Reached()
    score(bundle, slab, bundle.config.contrasts[0], timesteps=levels, progress=reached)
    return time.thread_time() - reached.began


class _Reached(Quiet):
    """Knows when the last stage began, in seconds that this thread computed."""

    began = 0.0

    def stage(self, name: str) -> None:
        self.began = time.thread_time()
