"""Prepared training data on disk: made once, checked, read slice by slice without ever being in memory as a whole."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.protocol.failures import OutputFailure
from conddiffusion_uad.training.data.data_checks import hash_of
from conddiffusion_uad.training.data.prepared import Anatomy, Scan
from conddiffusion_uad.training.data.source import Source

_PACKAGE = Path(__file__).parents[2]
CODE = (
    "preprocessing/*.py",
    "io/*.py",
    "training/data/anatomy.py",
    "training/data/crop.py",
    "training/data/prepared.py",
)  # that prepares
TOOLS = ("SimpleITK", "deepbet", "nibabel", "numpy", "scikit-image", "scipy", "torch")  # that it calls
_DESCRIPTION = "entry.json"
_DTYPES = {"uint8": torch.uint8, "bool": torch.bool, "float16": torch.float16}


@cache
def preparation() -> str:
    """A hash that changes with the atlas, with the code that prepares data, and with the tools it calls."""
    total = hashlib.sha256()
    for file in sorted(file for pattern in CODE for file in _PACKAGE.glob(pattern)):
        total.update(file.read_bytes())
    for name in (atlases.TEMPLATE, atlases.MASK):
        total.update((resources() / "Atlas" / name).read_bytes())
    total.update(repr([importlib.metadata.version(tool) for tool in TOOLS]).encode())
    return total.hexdigest()


class Cache:
    """A folder with an entry for each prepared file, named after the content of all that decides it.

    An entry appears in one move when it is whole, so a killed preparation goes on where it was. An entry whose content
    does not agree with its hashes counts as missing.

    Raises:
        OutputFailure: ``cannot_write`` when the folder cannot be made.
    """

    def __init__(self, folder: Path, grid: Grid) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputFailure(
                "cannot_write", f"The cache {folder} cannot be made.", "Give another --cache."
            ) from error
        self._folder = folder
        self._grid = grid

    def place(self, file: Path, source: Source) -> Path:
        """Where the entry of a file is, or will be. Raises OSError when the file cannot be read."""
        decides = (source.kind, source.contrast, self._grid, preparation())
        key = hashlib.sha256(repr(decides).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                key.update(block)
        return self._folder / f"{file.name.split('.')[0]}-{key.hexdigest()[:16]}"

    def get(self, place: Path) -> tuple[Anatomy | Scan, str] | None:
        """The item at a place, its arrays mapped from disk, and the hash of its scan; None if missing or damaged."""
        try:
            description = json.loads((place / _DESCRIPTION).read_text(encoding="utf-8"))
            arrays = {name: _mapped(place / name, **about) for name, about in description["arrays"].items()}
        except (OSError, KeyError, TypeError, ValueError, RuntimeError):
            return None
        values = {**description["values"], **arrays}
        return (Anatomy if "fractions" in arrays else Scan)(**values), description["voxels"]

    def put(self, place: Path, item: Anatomy | Scan, voxels: str) -> None:
        """Store an item. Raises OutputFailure("cannot_write")."""
        arrays = {name: value for name, value in vars(item).items() if isinstance(value, np.ndarray)}
        values = {name: value for name, value in vars(item).items() if name not in arrays}
        partial = place.with_name(f"{place.name}.part")
        try:
            for folder in (partial, place):
                shutil.rmtree(folder, ignore_errors=True)
            partial.mkdir()
            for name, array in arrays.items():
                np.ascontiguousarray(array).tofile(partial / name)
            about = {name: _about(array) for name, array in arrays.items()}
            description = {"values": values, "arrays": about, "voxels": voxels}
            (partial / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
            partial.rename(place)
        except OSError as error:
            raise OutputFailure(
                "cannot_write", f"The cache cannot be written: {error}.", "Free disk space, or give another --cache."
            ) from error


def _about(array: np.ndarray) -> dict[str, Any]:
    return {"shape": array.shape, "dtype": array.dtype.name, "sha256": hash_of(array)}


def _mapped(path: Path, shape: list[int], dtype: str, sha256: str) -> np.ndarray:
    """An array on disk. Unlike numpy's, torch's maps keep no file open, of which there may be few."""
    if path.stat().st_size != np.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{path} is not whole")
    flat = torch.from_file(str(path), shared=False, size=int(np.prod(shape)), dtype=_DTYPES[dtype])
    array = flat.numpy().reshape(shape)
    if hash_of(array) != sha256:
        raise ValueError(f"{path} is damaged")
    return array
