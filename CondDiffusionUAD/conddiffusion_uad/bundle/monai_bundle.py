"""What makes a bundle one that MONAI itself can run:

python -m monai.bundle run --config_file BUNDLE/configs/inference.json --image prepared.nii.gz --contrast T2
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import score

if TYPE_CHECKING:
    from conddiffusion_uad.bundle.bundle import Bundle

INFERENCE = "configs/inference.json"
_HERE = "conddiffusion_uad.bundle.monai_bundle"


def inference_config() -> dict[str, Any]:
    """What stands in ``configs/inference.json``: the same in every bundle, for MONAI runs whatever code it names."""
    return {
        "imports": [f"$import {_HERE} as monai_bundle"],
        "bundle_root": "$monai_bundle.running()",
        "image": "prepared.nii.gz",
        "contrast": "T2",
        "output": "score.nii.gz",
        "device": "cpu",
        "precision": "auto",
        "seed": 0,
        "bundle": {
            "_target_": f"{_HERE}.load",
            "folder": "@bundle_root",
            "device": "@device",
            "precision": "@precision",
        },
        "run": ["$monai_bundle.infer(@bundle, @image, @contrast, @output, seed=@seed)"],
    }


def running() -> str:
    """The folder of the bundle that MONAI runs: before it begins, it puts that second on Python's search path."""
    folder = next((path for path in map(Path, sys.path[1:]) if (path / INFERENCE).is_file()), Path())
    return str(folder.resolve())


def load(folder: str, device: str, precision: str) -> Bundle:
    """The bundle in a folder, on a device. Raises Failure."""
    from conddiffusion_uad.bundle import bundle

    return bundle.load(folder).to(device, precision)


def infer(bundle: Bundle, image: str, contrast: str, output: str, *, seed: int = 0) -> None:
    """Write the anomaly score of a prepared brain.

    Args:
        image: A file with a brain as ``preparation.prepare`` makes it: in the atlas' space, axial slices of a size that
            the network can divide, intensities in [0, 1], 0 outside the brain.
        contrast: One that the bundle is calibrated for.
        output: File for the score, on the same grid unless the method's map is finer; 0 outside the brain.

    Raises:
        Failure: The image cannot be read, the bundle is not calibrated, or the output cannot be written.
    """
    scan = volumes.read(image)
    values = sitk.GetArrayFromImage(scan)
    scored = score(bundle, Volume(values, values > 0, Grid.of(scan)), contrast, seed=seed)
    assert scored.grid is not None
    volumes.write(scored.grid.with_array(scored.score), output)
