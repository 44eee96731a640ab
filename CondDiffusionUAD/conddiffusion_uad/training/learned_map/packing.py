"""The material of a training in a folder that may travel: to a machine that has a graphics card and no data."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.learned_map.batches import SHARES, groups
from conddiffusion_uad.training.learned_map.material import Material

MOST_BYTES = 7_000_000  # beside the 59 MB of this project's files the whole has less than 64 MiB
_SHAPES = "shapes.npz"


def pack(material: Material, folder: Path, most_bytes: int = MOST_BYTES) -> list[str]:
    """Keep as much of the material in a folder as fits, each group of sources by how often a training draws from it.

    Args:
        folder: Made if needed; it holds no .npz files.
        most_bytes: Of all files together.

    Returns:
        Names of the sources that did not fit.

    Raises:
        FileExistsError: There are .npz files in the folder.
        ValueError: Not even the shapes of lesions fit.
    """
    if any(folder.glob("*.npz")):
        raise FileExistsError(f"{folder} holds material already")
    folder.mkdir(parents=True, exist_ok=True)
    left = most_bytes - _written(folder / _SHAPES, _shapes(material))
    if left < 0:
        (folder / _SHAPES).unlink()
        raise ValueError(f"{most_bytes} bytes hold no material: the shapes of lesions alone have {most_bytes - left}")
    waiting = _waiting(material)
    kept, missing = dict.fromkeys(waiting, 0), []
    while waiting:
        group = min(waiting, key=lambda each: kept[each] / SHARES[each])
        name = waiting[group].pop(0)
        file = folder / f"{name}.npz"
        size = _written(file, vars(healthy_bank.packed(material.sources[name])))
        if size > left:
            file.unlink()
            missing.append(name)
        else:
            left, kept[group] = left - size, kept[group] + size
        if not waiting[group]:
            del waiting[group]
    return missing


def unpacked(folder: Path) -> Material:
    """What :func:`pack` kept."""
    with np.load(folder / _SHAPES) as values:
        shapes = []
        for k in range(sum(name.startswith("mask_") for name in values)):
            size = tuple(values[f"size_{k}"].tolist())
            mask = np.unpackbits(values[f"mask_{k}"], count=int(np.prod(size))).reshape(size)
            shapes.append((torch.from_numpy(mask), tuple(values[f"origin_{k}"].tolist())))
        known = torch.from_numpy(values["priors"].astype(np.float32))
    files = sorted(file for file in folder.glob("*.npz") if file.name != _SHAPES)
    return Material({file.stem: healthy_bank.read(file) for file in files}, shapes, known)


def _waiting(material: Material) -> dict[str, list[str]]:
    """Names of the sources by group: what there is least of first, T1 and the larger ones of single slices last."""
    sources = material.sources

    def rarest(name: str) -> tuple[bool, int]:
        return sources[name].contrast == "T1", sources[name].image.size

    return {group: sorted(reversed(names), key=rarest) for group, names in groups(sources).items()}


def _shapes(material: Material) -> dict[str, np.ndarray]:
    arrays = {"priors": material.priors.numpy().astype(np.float16)}
    for k, (mask, origin) in enumerate(material.shapes):
        arrays[f"mask_{k}"] = np.packbits(mask.numpy() > 0)
        arrays[f"size_{k}"], arrays[f"origin_{k}"] = np.array(mask.shape), np.array(origin)
    return arrays


def _written(file: Path, arrays: Mapping[str, Any]) -> int:
    """Write an .npz file for ``numpy.load``, a fifth smaller than numpy's own, as a whole or not at all; its bytes."""
    unfinished = file.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_LZMA) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stored:
                np.lib.format.write_array(stored, np.asanyarray(values), allow_pickle=False)
    return unfinished.replace(file).stat().st_size
