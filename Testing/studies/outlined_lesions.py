"""Outline white-matter hyperintensities in single FLAIR slices by their brightness, for `train lesions`.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/outlined_lesions.py soop_flair_z18.npz DATA/outlined --z 18

writes each slice that shows some as a thin volume with its lesion map, and `lesions.csv`, the table that `train
lesions` asks for. The archive is one of those that `thin_volumes.py` reads. Nobody looked at the outlines one by one:
they are what is brighter than tissue by several deviations, not in the cortex and not at the mid-line, where healthy
tissue is bright on FLAIR, too. Lesions of another kind, and faint ones, are missed.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from thin_volumes import thin_volume

from conddiffusion_uad.io import volume as volumes

_DEVIATIONS = 3.2  # above the median of tissue
_RIM_MM, _MIDLINE_MM = 9, 10  # where cortex, and healthy tissue at the mid-line, may be bright
_LEAST_MM2, _LEAST_IN_ALL_MM2 = 16, 40  # of a lesion, and of all in a slice that is taken
TABLE = "lesions.csv"


def outlined(image: np.ndarray) -> np.ndarray:
    """Where a FLAIR slice (y, x) of 1 mm, 0 outside the brain, has hyperintensities; boolean, same shape."""
    brain = ndimage.binary_fill_holes(image > 0)
    inner = ndimage.binary_erosion(brain, iterations=_RIM_MM)
    if not inner.any():
        return inner
    values = image[inner]
    tissue = values[values > threshold_otsu(values)]
    tissue = tissue if len(tissue) > len(values) / 2 else values[values > np.percentile(values, 25)]
    median = np.median(tissue)
    deviation = 1.4826 * np.median(np.abs(tissue - median))
    middle = np.flatnonzero(brain.any(axis=0)).mean()
    inner[:, np.abs(np.arange(image.shape[1]) - middle) < _MIDLINE_MM] = False
    bright = inner & (ndimage.gaussian_filter(image, 0.7) > median + _DEVIATIONS * deviation)
    parts, count = ndimage.label(bright)
    areas = ndimage.sum_labels(bright, parts, np.arange(1, count + 1))
    return np.isin(parts, 1 + np.flatnonzero(areas >= _LEAST_MM2))


def convert(archive: Path, folder: Path, z: float) -> int:
    """Write slices, lesion maps and the table; returns how many slices show lesions."""
    with np.load(archive) as stored:
        images = stored["image"]
        names = stored.get("id", [""] * len(images))
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, image in enumerate(images.astype(np.float32)):
        lesions = outlined(image)
        if lesions.sum() < _LEAST_IN_ALL_MM2:
            continue
        start = "_".join(filter(None, (f"{index:04d}", str(names[index]), "flair")))
        volumes.write(thin_volume(image, z), folder / f"{start}.nii.gz")
        volumes.write(thin_volume(lesions.astype(np.uint8), z), folder / f"{start}_seg.nii.gz")
        rows.append((f"{start}.nii.gz", f"{start}_seg.nii.gz", "FLAIR"))
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("scan", "lesions", "contrast"), *rows])
    return len(rows)


def main() -> None:
    """Convert what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--z", type=float, default=0.0, help="of the slices above the atlas' origin, mm")
    options = parser.parse_args()
    print(f"Outlined lesions in {convert(options.archive, options.folder, options.z)} slices")


if __name__ == "__main__":
    main()
