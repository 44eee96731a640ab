"""A small scan and a small model bundle, made in a moment, for tests that run the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def make_scan(path: Path) -> None:
    """Write a stripped T1-weighted brain with voxels of 6 mm and one bright ball, from the shipped atlas."""
    import SimpleITK as sitk

    from conddiffusion_uad.preprocessing import atlas

    brain = sitk.BinShrink(atlas.load().t1, [3, 3, 3])  # few voxels: quick
    values = sitk.GetArrayFromImage(brain)
    z, y, x = np.indices(values.shape)
    middle = [size / 2 for size in values.shape]
    ball = (z - middle[0] - 2) ** 2 + (y - middle[1] - 3) ** 2 + (x - middle[2] - 5) ** 2 < 1.7**2
    values += np.random.default_rng(0).normal(0, 0.01 * values.max(), values.shape) * (values > 0)
    values[ball] = 2 * values.max()
    scan = sitk.GetImageFromArray(values.astype(np.float32))
    scan.CopyInformation(brain)
    sitk.WriteImage(scan, str(path))


def make_bundle(folder: Path) -> None:
    """Write a bundle with an untrained network of the right kind and a made-up calibration for T1."""
    import torch

    from conddiffusion_uad.bundle import bundle
    from conddiffusion_uad.bundle.config import BundleConfig
    from conddiffusion_uad.io.volume import Grid
    from conddiffusion_uad.method.anomaly_map.residual import Residual
    from conddiffusion_uad.method.calibration import Calibration
    from conddiffusion_uad.method.condition.encoder import Encoder
    from conddiffusion_uad.method.method import Method
    from conddiffusion_uad.method.noise.simplex import Simplex
    from conddiffusion_uad.method.restore.one_step import OneStep

    method = Method(
        condition=Encoder(16, "basic", (1, 1, 1, 1), (4, 8, 16, 32)),
        noise=Simplex(octaves=2, wavelength=16.0),
        restore=OneStep((250, 500)),
        anomaly_map={"T1": Residual(), "T2": Residual()},
    )
    denoiser = {"base": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 8, "groups": 4, "patch": 2}
    config = BundleConfig(Grid((48, 56, 48), (4.0, 4.0, 4.0), (-94.0, -110.0, -90.0)), denoiser, method)
    torch.manual_seed(0)
    bundle.save(folder, config, config.build())
    healthy = np.random.default_rng(0).exponential(0.09, 20_000)
    bundle.save_calibration(folder, {"T1": Calibration.measure([[healthy]])})
