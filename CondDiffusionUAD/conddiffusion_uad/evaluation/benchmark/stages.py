"""Seconds of the stages of a detection, cold and warm, with everything it reads and writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from conddiffusion_uad.app.detection_job import Models, run
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import Event
from conddiffusion_uad.protocol.failures import Failure
from conddiffusion_uad.protocol.job import DetectionJob

SAMPLE = "SampleData/synthetic_T2_brain.nii.gz"


@dataclass(frozen=True)
class Stages:
    """Seconds of a detection's stages, as its report tells them.

    Attributes:
        bundle: Its name.
        first: With the bundle, and in a new process the libraries, still to be loaded.
        again: Median of the runs after that.
        peak_memory_mb: Of the process.
    """

    bundle: str
    first: Mapping[str, float]
    again: Mapping[str, float]
    peak_memory_mb: float | None


def sample_scan() -> str:
    """Path of the shipped scan."""
    return str(resources() / SAMPLE)


def measure(job: DetectionJob, rounds: int) -> Stages:
    """Run a detection several times; its results are thrown away.

    Args:
        job: One scan; its `output` is not used.
        rounds: Runs after the first.

    Raises:
        Failure: The detection failed.
    """
    models = Models()
    reports = [_report(job, models) for _ in range(rounds + 1)]
    seconds = [report["seconds"] for report in reports]
    again = {stage: median(run[stage] for run in seconds[1:] or seconds) for stage in seconds[0]}
    return Stages(reports[0]["bundle"]["name"], seconds[0], again, reports[-1]["peak_memory_mb"])


def _report(job: DetectionJob, models: Models) -> dict:
    events: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="conddiffusion-benchmark-") as folder:
        once = DetectionJob.from_json({**job.to_json(), "output": folder, "force": True})
        if run(once, events.append, models=models):
            error = events[-1]
            raise Failure(error["code"], error["message"], error["hint"])
        return json.loads((Path(folder) / result_files.REPORT).read_text(encoding="utf-8"))
