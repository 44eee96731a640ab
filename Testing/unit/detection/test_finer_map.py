"""A map on a finer grid than the denoiser's, which keeps the detail of the scan, all the way to the heatmap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.detection.pipeline import Detection, detect
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.restored import Restored


@dataclass(frozen=True)
class Brightness:
    """What the scan shows, on a grid of its own."""

    spacing: tuple[float, float, float] | None = None

    def __call__(self, restored: Restored, model: Any) -> np.ndarray:
        assert restored.samples.shape[1:] == restored.volume.shape == restored.mask.shape
        if self.spacing:
            assert restored.grid.spacing == self.spacing
            coarse, fine = restored.origin.volume, restored.volume
            assert fine.shape == tuple(2 * size for size in coarse.shape)
        return restored.volume


@dataclass(frozen=True)
class Plain:
    """A calibration that leaves the map as it is."""

    def score(self, anomaly_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask, anomaly_map, 0).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    """The small bundle, on a grid of 8 mm."""
    loaded = bundles.load(str(small_bundle))
    grid = Grid((24, 32, 24), (8.0, 8.0, 8.0), (-92.0, -118.0, -88.0))
    config = replace(loaded.config, grid=grid)
    return replace(loaded, config=config, calibration={"T1": Plain()}).to("cpu", "fp32")


def found(bundle: Bundle, scan_file: Path, spacing: tuple[float, float, float] | None) -> Detection:
    method = replace(bundle.method, anomaly_map={"T1": Brightness(spacing)})
    changed = replace(bundle, config=replace(bundle.config, method=method))
    return detect(volumes.read(scan_file), changed, "T1", skull="off", accept_any_scan=True)


def test_a_finer_map_shows_what_a_coarse_one_cannot(bundle: Bundle, scan_file: Path) -> None:
    coarse, fine = (found(bundle, scan_file, spacing) for spacing in (None, (4.0, 4.0, 4.0)))
    around = fine.prepared.way.normalized.image
    normalized = sitk.GetArrayFromImage(sitk.Resample(around, fine.brain_mask, sitk.Transform()))
    inside = sitk.GetArrayFromImage(fine.brain_mask) > 0
    heatmaps = [sitk.GetArrayFromImage(each.heatmap) for each in (coarse, fine)]
    assert all(heatmap.shape == inside.shape and not heatmap[~inside].any() for heatmap in heatmaps)
    errors = [np.abs(heatmap - np.clip(normalized, 0, 1))[inside].mean() for heatmap in heatmaps]
    assert errors[1] < 0.6 * errors[0]
    reconstructions = [sitk.GetArrayFromImage(each.reconstruction) for each in (coarse, fine)]
    np.testing.assert_array_equal(*reconstructions)  # made on the bundle's grid either way
