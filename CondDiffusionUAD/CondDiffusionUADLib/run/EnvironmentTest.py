"""Tries an environment from inside: PyTorch computes, a scan is read, the engine loads. Prints what is there as JSON.

    python EnvironmentTest.py SCAN

It runs as a program of its own, in the environment, with the engine on its path.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib import import_module, metadata


def tryOut(scan: str) -> dict[str, object]:
    """What is there. Raises whatever does not work."""
    import numpy as np
    import SimpleITK as sitk
    import torch

    # A convolution, and the way to and from numpy, which a PyTorch built for another numpy does not find.
    image = torch.from_numpy(np.ones((1, 1, 8, 8), np.float32))
    summed = torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3)).numpy()
    if summed.shape != (1, 1, 6, 6) or not (summed == 9).all():
        raise RuntimeError("PyTorch computes wrongly.")
    if sitk.GetArrayFromImage(sitk.ReadImage(scan)).ndim != 3:
        raise RuntimeError("A scan is not read as it is.")
    for name in ("monai.networks.schedulers", "skimage", "conddiffusion_uad.detection.pipeline"):
        import_module(name)
    import_module("conddiffusion_uad.preprocessing.skull_networks").load("cpu")  # deepbet's, whose code is not loaded
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": str(torch.__version__),
        "packages": sorted({(str(found.name), str(found.version)) for found in metadata.distributions()}),
    }


if __name__ == "__main__":
    print(json.dumps(tryOut(sys.argv[1])))
