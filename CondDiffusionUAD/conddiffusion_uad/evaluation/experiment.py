"""Scoring labeled and healthy scans with a bundle and with the baselines, everything smoothed alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad import volume as volumes
from conddiffusion_uad.detection.reconstruction import reconstruct
from conddiffusion_uad.detection.scoring import anomaly_score, equalized, residual, smoothed, threshold
from conddiffusion_uad.evaluation.baselines import blur_residual
from conddiffusion_uad.evaluation.metrics import average_precision
from conddiffusion_uad.model.bundle import Bundle
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol import Quiet

MODEL = "model"
TRUTH = "seg.nii.gz"
Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A scan to be scored.

    Attributes:
        name: Of the patient.
        contrast: "T1", "T2" or "FLAIR".
        scan: Its file.
        truth: Label map of the lesion, not 0 where it is; None for a healthy scan.
    """

    name: str
    contrast: str
    scan: Path
    truth: Path | None

    @property
    def folder(self) -> str:
        """The folder that the patient's folder lies in: cases of one collection have it in common."""
        return self.scan.parents[1].name


@dataclass(frozen=True)
class Result:
    """What was measured in one case, inside the brain on the scan's own grid.

    Attributes:
        case: Which.
        prevalence: Share of the brain that is lesion.
        precision: Average precision, by method; NaN for healthy scans.
        flagged: Share of the healthy brain that the model flags at the default threshold.
    """

    case: Case
    prevalence: float
    precision: Mapping[str, float]
    flagged: float


def labeled_cases(folder: Path, contrasts: tuple[str, ...]) -> Iterator[Case]:
    """Cases of folders of patients that hold ``<contrast>.nii.gz`` and ``seg.nii.gz``."""
    for truth in sorted(folder.glob(f"**/{TRUTH}")):
        for contrast in contrasts:
            scan = truth.with_name(f"{contrast.lower()}.nii.gz")
            if scan.is_file():
                yield Case(truth.parent.name, contrast, scan, truth)


def healthy_cases(folder: Path, contrasts: tuple[str, ...]) -> Iterator[Case]:
    """Cases of a folder of healthy scans named ``*_<contrast>.nii.gz``."""
    for contrast in contrasts:
        for scan in sorted(folder.glob(f"**/*_{contrast.lower()}.nii.gz")):
            yield Case(scan.name.split(".")[0], contrast, scan, None)


def measure(case: Case, bundle: Bundle, healthy_flagged: float = 0.01, seed: int = 0) -> Result:
    """Score one case with the bundle and the baselines."""
    scan = volumes.read(case.scan)
    prepared = prepare(scan, grid=bundle.config.grid, atlas=atlas.load(), progress=Quiet())
    maps = score_maps(prepared.volume, prepared.mask, bundle, case.contrast, seed)
    brain = sitk.GetArrayFromImage(prepared.native_mask) > 0
    native = {name: sitk.GetArrayFromImage(prepared.score_to_native(values))[brain] for name, values in maps.items()}
    truth = lesion(case, scan)[brain]
    return Result(
        case,
        float(truth.mean()),
        {name: average_precision(values, truth) for name, values in native.items()},
        float((native[MODEL][~truth] > threshold(healthy_flagged)).mean()),
    )


def lesion(case: Case, scan: sitk.Image) -> np.ndarray:
    """Where the lesion is, boolean (z, y, x) on the scan's grid; nowhere in a healthy scan."""
    if case.truth is None:
        return np.zeros(scan.GetSize()[::-1], bool)
    labels = sitk.Resample(sitk.ReadImage(str(case.truth)), scan, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(labels) > 0


def score_maps(volume: np.ndarray, mask: np.ndarray, bundle: Bundle, contrast: str, seed: int = 0) -> Maps:
    """The anomaly score and the baselines, smoothed by the bundle's rule, on the bundle's grid."""
    rule = bundle.config.residual[contrast]
    estimate = reconstruct(volume, mask, bundle.model, levels=bundle.config.levels, seed=seed)
    residuals = residual(volume, estimate, mask, rule)
    return {
        MODEL: anomaly_score(residuals, mask, bundle.calibration[contrast]),
        "equalized intensity": smoothed(equalized(volume, mask), mask, rule),
        "1 - equalized intensity": smoothed(mask - equalized(volume, mask), mask, rule),
        "blur residual": smoothed(blur_residual(volume, mask), mask, rule),
    }
