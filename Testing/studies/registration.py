"""How well scans are registered: overlap with the atlas, and whether a moved scan is found where it was moved to.

PYTHONPATH=CondDiffusionUAD python Testing/studies/registration.py SCAN...

With PYTHONPATH naming another checkout, its registration is judged on the same movements. They are affine and known,
so that the distance between where the registrations of a scan and of its moved copy put the atlas is an error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import volume
from conddiffusion_uad.preprocessing import atlas, background, orientation, registration, skull
from conddiffusion_uad.protocol.events import Quiet

MOVEMENTS = 2
ROTATION, SCALE, SHIFT_MM = 0.15, 0.05, 8.0  # at most, of a movement; radians, relative
PADDING = 8  # voxels around the moved scan
EVERY = 501  # of the atlas' brain voxels, one serves as a landmark


def landmarks() -> list[tuple[float, ...]]:
    """Points all over the atlas' brain, LPS mm."""
    mask = atlas.load().mask
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask))[::EVERY, ::-1]
    return [mask.TransformIndexToPhysicalPoint(index.tolist()) for index in indices]


def movement(image: sitk.Image, seed: int) -> sitk.AffineTransform:
    """A small random affine movement about the middle of an image: points of the copy to points of the image."""
    random = np.random.default_rng(seed)
    turn, moved = sitk.Euler3DTransform(), sitk.AffineTransform(3)
    turn.SetRotation(*random.uniform(-ROTATION, ROTATION, 3).tolist())
    moved.SetCenter(image.TransformContinuousIndexToPhysicalPoint([n / 2 for n in image.GetSize()]))
    scales = random.uniform(1 - SCALE, 1 + SCALE, 3)
    moved.SetMatrix((np.array(turn.GetMatrix()).reshape(3, 3) @ np.diag(scales)).flatten())
    moved.SetTranslation(random.uniform(-SHIFT_MM, SHIFT_MM, 3).tolist())
    return moved


def judged(path: str) -> tuple[float, float, list[float]]:
    """Overlap, processor seconds of the registration, and its mean error for each movement in mm."""
    image = background.level(orientation.orient(volume.read(path)).image).image
    mask = skull.brain_mask(image, "auto", "cpu", Quiet()).mask
    began = time.process_time()
    found = registration.register(image, mask, atlas.load(), Quiet())
    seconds = time.process_time() - began
    places = np.array([found.to_atlas.TransformPoint(point) for point in landmarks()])
    errors = []
    for seed in range(1, MOVEMENTS + 1):
        moved = movement(image, seed)
        there = sitk.ConstantPad(image, [PADDING] * 3, [PADDING] * 3, 0.0)
        copy = sitk.Resample(image, there, moved, sitk.sitkLinear, 0.0)
        brain = sitk.Resample(mask, there, moved, sitk.sitkNearestNeighbor, 0)
        again = registration.register(copy, brain, atlas.load(), Quiet())
        back = np.array([moved.TransformPoint(again.to_atlas.TransformPoint(point)) for point in landmarks()])
        errors.append(float(np.linalg.norm(back - places, axis=1).mean()))
    return found.quality, seconds, errors


def main(paths: Sequence[str]) -> None:
    """Print a line for each scan."""
    for path in paths:
        overlap, seconds, errors = judged(path)
        print(f"{path}: overlap {overlap:.4f}, {seconds:.2f} s, errors", *(f"{error:.2f}" for error in errors), "mm")


if __name__ == "__main__":
    main(sys.argv[1:])
