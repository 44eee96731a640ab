"""Reads the folder that ``conddiffusion-uad detect`` wrote. Standard library only."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

REPORT_FILE = "report.json"
FINDINGS_FILE = "findings.csv"
HEATMAP_FILE = "heatmap.nii.gz"
RECONSTRUCTION_FILE = "reconstruction.nii.gz"
SEGMENTATION_FILE = "segmentation.nii.gz"
OVERVIEW_FILE = "overview.png"


class DetectionOutputError(ValueError):
    """The folder does not hold the complete results of a detection."""


@dataclass(frozen=True)
class Finding:
    """One region above the threshold; the center is in patient coordinates (R, A, S), mm; the status is a person's."""

    number: int
    volumeMl: float
    peakScore: float
    meanScore: float
    centerRas: tuple[float, float, float]
    status: str = "open"


@dataclass(frozen=True)
class DetectionOutput:
    """The results of one detection: where the volumes lie, the findings, and how they were made.

    Attributes:
        folder: The folder that holds the results.
        findings: Most important first, numbered as in the segmentation.
        threshold: The anomaly score from which a voxel belongs to a finding.
        minVolumeMl: The smallest volume of a finding in ml.
        contrast: T1, T2 or FLAIR.
        bundle: Name of the model bundle.
        version: Version of the engine.
        report: The whole report of the run, JSON.
    """

    folder: Path
    findings: tuple[Finding, ...]
    threshold: float
    minVolumeMl: float
    contrast: str
    bundle: str
    version: str
    report: str

    @property
    def heatmap(self) -> Path:
        """Anomaly score, float32, on the grid of the input."""
        return self.folder / HEATMAP_FILE

    @property
    def reconstruction(self) -> Path:
        """What the model thinks this brain would look like healthy, in the intensities of the input."""
        return self.folder / RECONSTRUCTION_FILE

    @property
    def segmentation(self) -> Path:
        """Number of the finding of each voxel, uint16, 0 where there is none."""
        return self.folder / SEGMENTATION_FILE

    @property
    def overview(self) -> Path:
        """A page with slices through the first finding; may be missing."""
        return self.folder / OVERVIEW_FILE


def readDetectionOutput(folder: str | Path) -> DetectionOutput:
    """Read the results of a detection from its output folder.

    Raises:
        DetectionOutputError: A file is missing or cannot be understood.
    """
    folder = Path(folder)
    for name in (REPORT_FILE, FINDINGS_FILE, HEATMAP_FILE, RECONSTRUCTION_FILE, SEGMENTATION_FILE):
        if not (folder / name).is_file():
            raise DetectionOutputError(f"{folder} does not hold a finished detection: {name} is missing.")
    try:
        text = (folder / REPORT_FILE).read_text(encoding="utf-8")
        report = json.loads(text)
        return DetectionOutput(
            folder=folder,
            findings=_readFindings(folder / FINDINGS_FILE),
            threshold=float(report["parameters"]["threshold"]),
            minVolumeMl=float(report["parameters"]["min_volume_ml"]),
            contrast=str(report["parameters"]["contrast"]),
            bundle=str(report["bundle"]["name"]),
            version=str(report["software"]["conddiffusion_uad"]),
            report=text,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DetectionOutputError(
            f"The report or the findings in {folder} cannot be understood: {error!r}."
        ) from error


def _readFindings(path: Path) -> tuple[Finding, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(
            Finding(
                number=int(row["number"]),
                volumeMl=float(row["volume_ml"]),
                peakScore=float(row["peak_score"]),
                meanScore=float(row["mean_score"]),
                centerRas=(float(row["centre_r_mm"]), float(row["centre_a_mm"]), float(row["centre_s_mm"])),
            )
            for row in csv.DictReader(file)
        )
