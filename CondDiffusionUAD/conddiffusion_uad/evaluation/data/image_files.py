"""Which image files are alike, and where their grids lie to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.training.data.data_checks import grouped

_SAMPLE = 1 << 16  # bytes from the middle of a file that tell most files of one size apart
_SAME = 0.1  # voxels by which two grids of the same voxels may differ
_CORNERS = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8)


def same_grid(first: Grid, second: Grid) -> bool:
    """Whether two grids have the same voxels, up to a fraction of one."""
    if first.size != second.size:
        return False
    corners = (_CORNERS.T * (np.array(first.size) - 1)).T
    distances = np.linalg.norm(points(first, corners) - points(second, corners), axis=0)
    return bool(distances.max() <= _SAME * min(first.spacing))


def points(grid: Grid, indices: np.ndarray) -> np.ndarray:
    """Where voxels (3, n), x first, lie: (3, n) LPS millimeters."""
    axes = np.array(grid.direction).reshape(3, 3) * grid.spacing
    return axes @ indices + np.array(grid.origin)[:, None]


def inside(grid: Grid, places: np.ndarray) -> np.ndarray:
    """Which places (3, n), LPS millimeters, lie in a voxel of a grid."""
    axes = np.array(grid.direction).reshape(3, 3) * grid.spacing
    indices = np.linalg.solve(axes, places - np.array(grid.origin)[:, None])
    return ((indices > -0.5) & (indices < np.array(grid.size)[:, None] - 0.5)).all(axis=0)


@cache
def content(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def alike(files: Iterable[Path]) -> list[list[Path]]:
    """Groups of different files with the same content; a file is only read when another has its size."""
    groups = [list(dict.fromkeys(files))]
    keys: tuple[Callable[[Path], Hashable], ...] = (lambda path: path.stat().st_size, _sample, content)
    for key in keys:
        finer = (grouped((key(file), file) for file in group).values() for group in groups)
        groups = [files for parts in finer for files in parts if len(files) > 1]
    return groups


def _sample(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size // 2 - _SAMPLE // 2))
        return stream.read(_SAMPLE)
