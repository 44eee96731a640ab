"""The report of a run: what is needed to understand and to repeat it, without telling who the patient is."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from conddiffusion_uad import __version__
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.location_priors import has_prior
from conddiffusion_uad.detection import sensitivity
from conddiffusion_uad.detection.findings import COLUMNS, row
from conddiffusion_uad.detection.pipeline import Detection
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.failures import RESEARCH_USE
from conddiffusion_uad.protocol.job import DetectionJob

LIBRARIES = ("torch", "monai", "SimpleITK", "numpy", "scikit-image", "safetensors", "deepbet")
_STATUS, _HELD = Path("/proc/self/status"), re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def build(
    job: DetectionJob,
    contrast: str,
    scan: sitk.Image,
    bundle: Bundle,
    detection: Detection,
    recorder: Recorder,
    folder: Path,
) -> dict[str, Any]:
    """The report as JSON values, as `report.schema.json` describes them.

    It holds no path and no name of the input, because file names often name patients.
    """
    recorder.stop()
    return {
        "format": result_files.REPORT_FORMAT,
        "statement": RESEARCH_USE,
        "software": software(),
        "computer": computer(),
        "device": device_name(bundle),
        "bundle": {"name": bundle.name, "sha256": bundle.sha256},
        "parameters": {
            **{name: getattr(job, name) for name in job.parameters()},
            # What was decided in the run, where the job had left it open:
            "contrast": contrast,
            "levels": list(job.levels or bundle.config.timesteps),
            "threshold": detection.threshold,
            "batch": detection.batch,
            "precision": bundle.precision,
            "location_prior": has_prior(bundle.method.anomaly_map[contrast]),
        },
        "input": scan_facts(scan),
        "preparation": {
            "skull": detection.prepared.skull_method,
            "brain_volume_ml": round(_volume_ml(detection.brain_mask), 1),
            "registration_overlap": round(detection.prepared.registration.quality, 3),
        },
        "quality": detection.assessment.to_json(),
        "findings": {
            "count": len(detection.findings),
            "volume_ml": round(sum(finding.volume_ml for finding in detection.findings), 3),
            "peak_score": round(max((finding.peak_score for finding in detection.findings), default=0.0), 3),
            "list": [dict(zip(COLUMNS, row(finding), strict=True)) for finding in detection.findings],
        },
        "expected_findings": sensitivity.promise(
            bundle,
            contrast,
            detection.threshold,
            job.expected_findings,
            job.min_volume_ml,
            float(sitk.GetArrayViewFromImage(detection.heatmap).max()),
            job.levels,
        ),
        "measures": dict(detection.measures),
        "warnings": recorder.warnings,
        "seconds": {**recorder.seconds, "total": round(sum(recorder.seconds.values()), 3)},
        "peak_memory_mb": peak_memory_mb(),
        "files": {
            name: _file_digest(folder / name)
            for name in result_files.POSSIBLE
            if name != result_files.REPORT and (name in result_files.FILES or (folder / name).exists())
        },
        "repetition": None,
    }


def software() -> dict[str, str]:
    """Versions of this program and of what it stands on."""
    versions = {"conddiffusion_uad": __version__, "python": platform.python_version(), "system": platform.system()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def computer() -> dict[str, Any]:
    """What, besides the software, decides the last digits of what a CPU computes; it identifies no computer."""
    import torch

    return {
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def device_name(bundle: Bundle) -> str:
    """The processor that a bundle's network is on, such as "cpu" or "cuda:0 (NVIDIA RTX A4000)"."""
    import torch

    device = next(bundle.model.parameters()).device
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def scan_facts(scan: sitk.Image) -> dict[str, Any]:
    """What tells one scan from another: its grid and the hash of its voxels."""
    return {**Grid.of(scan).to_json(), "sha256": voxels_digest(scan)}


def voxels_digest(scan: sitk.Image) -> str:
    """SHA-256 of the voxels as float32, little-endian, x fastest: tells whether two reports are of the same scan."""
    return hashlib.sha256(sitk.GetArrayViewFromImage(scan).astype("<f4", copy=False)).hexdigest()


def peak_memory_mb() -> float | None:
    """The most memory this process has held since it started, in MB; None on Windows, which does not tell simply."""
    try:
        import resource
    except ImportError:
        return None
    # Linux, where getrusage counts what the parent held when it started this program; some sandboxes leave the line out
    held = _HELD.search(_STATUS.read_text("utf-8", "replace")) if _STATUS.is_file() else None
    if held is not None:
        return round(float(held[1]) * 1024 / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _volume_ml(mask: sitk.Image) -> float:
    x, y, z = mask.GetSpacing()
    return int((sitk.GetArrayViewFromImage(mask) > 0).sum()) * x * y * z / 1000.0
