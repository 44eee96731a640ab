"""Seconds of the stages of a detection, cold and warm, with everything it reads and writes.

As a program it is the process that is measured: it runs a job several times and prints what each stage took, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from conddiffusion_uad.app.detection_job import Models, run
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import Event
from conddiffusion_uad.protocol.failures import Failure
from conddiffusion_uad.protocol.job import DetectionJob

SAMPLE = "SampleData/synthetic_T2_brain.nii.gz"
NETWORK = "reconstruct"  # the stage that is the network's


@dataclass(frozen=True)
class Stages:
    """Seconds of a detection's stages.

    With one thread (``OMP_NUM_THREADS=1``) those that the process computed, so that other programs on the computer do
    not lengthen them; else those that passed.

    Attributes:
        bundle: Its name.
        first: In a new process, with libraries and bundle still to be loaded.
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


def beside_network(seconds: Mapping[str, float]) -> float:
    """How many times as long as the network everything else takes."""
    return sum(seconds.values()) / seconds[NETWORK] - 1


def measure(job: DetectionJob, rounds: int) -> Stages:
    """Run a detection several times in a process of its own; its results are thrown away.

    Args:
        job: One scan; its `output` is not used.
        rounds: Runs after the first.

    Raises:
        Failure: The detection failed.
    """
    command = [sys.executable, "-m", __name__, json.dumps(job.to_json()), str(rounds)]
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failure("trial_failed", "The detection cannot be measured.", done.stderr[-500:]) from error
    if "code" in found:
        raise Failure(found["code"], found["message"], found["hint"])
    first, *others = found["seconds"]
    again = {stage: median(seconds[stage] for seconds in others or [first]) for stage in first}
    return Stages(found["bundle"], first, again, found["peak_memory_mb"])


def main() -> None:
    """Measure the job and the rounds that the arguments name."""
    job, rounds = DetectionJob.from_json(json.loads(sys.argv[1])), int(sys.argv[2])
    models, seconds, report = Models(), [], {}
    for _ in range(rounds + 1):
        seconds.append(taken := {})
        report = _run(job, models, taken)
        if "code" in report:
            print(json.dumps(report))
            return
    told = {"bundle": report["bundle"]["name"], "peak_memory_mb": report["peak_memory_mb"]}
    print(json.dumps({"seconds": seconds, **told}))


def _run(job: DetectionJob, models: Models, seconds: dict[str, float]) -> dict[str, Any]:
    """The report of a run, or the event of its failure; the seconds of each stage are added to `seconds`."""
    clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter
    marks: list[tuple[str, float]] = []
    last: Event = {}

    def hear(event: Event) -> None:
        if event["event"] == "stage":
            marks.append((event["name"], clock()))
        elif event["event"] == "error":
            last.update(event)

    with tempfile.TemporaryDirectory(prefix="conddiffusion-benchmark-") as folder:
        failed = run(replace(job, output=folder, force=True), hear, models=models)
        ends = [at for _, at in marks[1:]] + [clock()]
        for (name, begin), end in zip(marks, ends, strict=True):
            seconds[name] = seconds.get(name, 0.0) + end - begin
        if failed:
            return last
        found: dict[str, Any] = json.loads((Path(folder) / result_files.REPORT).read_text(encoding="utf-8"))
        return found


if __name__ == "__main__":
    main()
