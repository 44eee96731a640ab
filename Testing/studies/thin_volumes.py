"""Turn an .npz archive of single axial slices into thin volumes, which `train` and `evaluate` read as volumes.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/thin_volumes.py soop_flair_z18.npz thin/soop_flair_z18 \\
        --contrast FLAIR --z 18 --cleanest 0.4
    PYTHONPATH=CondDiffusionUAD python Testing/studies/thin_volumes.py ixi_t2_slices.npz thin/ixi_t2_slices \\
        --contrast T2 --turns 3 --skull --pixel 0.94 1.2

The archive holds ``image`` (slices, y, x), and optionally ``mask`` of the same shape (lesions), ``id`` (who is shown)
and ``bright`` (how much each slice deviates from health). A thin volume is 6 mm of a brain in the space of the MNI152
atlas, 0 outside the brain, all of its slices alike: so a thick slice looks on a finer grid.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from slice_outline import outline

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.scan_checks import MIN_SIZE
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.job import CONTRASTS

THICKNESS_MM = 6.0
CENTER_LPS_MM = (0.0, 16.0)  # of the slices in the atlas: the middle of the brain, left to right and front to back


def thin_volume(image: np.ndarray, z: float) -> sitk.Image:
    """A slice as a thin volume.

    Args:
        image: Axial slice (y, x), the forehead at the top and the patient's left at the right, 1 mm a pixel.
        z: Where it lies above the origin of the atlas, mm.
    """
    size = np.array([image.shape[1], image.shape[0], MIN_SIZE])
    steps = np.array([1.0, 1.0, THICKNESS_MM / MIN_SIZE])
    origin = np.array([*CENTER_LPS_MM, z]) - steps * (size - 1) / 2
    grid = Grid(tuple(size.tolist()), tuple(steps.tolist()), tuple(origin.tolist()))
    return grid.with_array(np.repeat(image[None], MIN_SIZE, axis=0))


def convert(archive: Path, folder: Path, options: argparse.Namespace) -> list[Path]:
    """Write the slices that show a brain, named after their position and subject; returns their files."""
    with np.load(archive) as stored:
        images, masks = stored["image"], stored.get("mask")
        names = stored.get("id", [""] * len(images))
        bright = stored.get("bright", np.zeros(len(images)))
    ranks = np.argsort(np.argsort(bright, kind="stable"), kind="stable")
    written = []
    for index, stored_image in enumerate(images):
        image = _upright(stored_image, options, order=1)
        brain = outline(image.astype(np.float32)) if options.skull else image > 0
        if brain is None or not brain.any():
            continue
        clean = "clean" if ranks[index] < round(options.cleanest * len(images)) else "other"
        place = folder / clean if options.cleanest < 1 else folder
        place.mkdir(parents=True, exist_ok=True)
        start = place / "_".join(filter(None, (f"{index:04d}", str(names[index]), options.contrast.lower())))
        pixels = image if image.dtype == np.uint8 else image.astype(np.float32)
        volumes.write(thin_volume(pixels * brain, options.z), f"{start}.nii.gz")
        if masks is not None:
            lesion = _upright(masks[index], options, order=0).astype(np.uint8)
            volumes.write(thin_volume(lesion, options.z), f"{start}_seg.nii.gz")
        written.append(Path(f"{start}.nii.gz"))
    return written


def _upright(stored: np.ndarray, options: argparse.Namespace, order: int) -> np.ndarray:
    """A stored slice with the forehead at the top and pixels of 1 mm, by splines of an order."""
    image = np.rot90(stored, options.turns)
    if options.pixel == [1.0, 1.0]:
        return image
    return np.clip(ndimage.zoom(image.astype(np.float32), options.pixel, order=order), 0, None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--contrast", choices=CONTRASTS, required=True)
    parser.add_argument(
        "--pixel", type=float, nargs=2, default=[1.0, 1.0], metavar=("Y", "X"), help="size once turned, mm"
    )
    parser.add_argument("--z", type=float, default=0.0, help="of the slices above the atlas' origin, mm")
    parser.add_argument("--turns", type=int, default=0, help="quarter turns that bring the forehead to the top")
    parser.add_argument("--skull", action="store_true", help="cut the brain out of T2-weighted slices of heads")
    parser.add_argument(
        "--cleanest", type=float, default=1.0, help="share with the lowest `bright`, for `clean`; others go to `other`"
    )
    options = parser.parse_args(arguments)
    print(f"Wrote {len(convert(options.archive, options.folder, options))} thin volumes to {options.folder}")


if __name__ == "__main__":
    main()
