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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from conddiffusion_uad.app.detection_job import Models, run
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import Event
from conddiffusion_uad.protocol.failures import Failure
from conddiffusion_uad.protocol.job import DetectionJob

if TYPE_CHECKING:
    from conddiffusion_uad.bundle.bundle import Bundle

SAMPLE = "SampleData/synthetic_T2_brain.nii.gz"
NETWORK = "reconstruct"  # the stage that is the network's
SCORE = "score"  # the stage in which the network of a learned map computes
MAP = "map network"  # its part of that stage


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
    """How many times as long as the networks, the denoiser's and a learned map's, everything else takes."""
    return sum(seconds.values()) / (seconds[NETWORK] + seconds.get(MAP, 0.0)) - 1


class WatchedModels(Models):
    """Loaded bundles, the networks of whose maps tell how long they compute.

    Args:
        clock: Tells seconds.

    Attributes:
        spent: Seconds of these networks so far.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.spent = 0.0
        self._clock = clock
        self._watched: set[int] = set()

    def get(self, name: str, device: str, precision: str = "auto") -> Bundle:
        """See :meth:`Models.get`."""
        bundle = super().get(name, device, precision)
        if id(bundle) not in self._watched:
            self._watched.add(id(bundle))
            for weights in bundle.model.networks.children():
                for network in weights.children():
                    network.register_forward_pre_hook(self._begin)
                    network.register_forward_hook(self._end)
        return bundle

    def _begin(self, *_: object) -> None:
        self.spent -= self._clock()

    def _end(self, *_: object) -> None:
        self.spent += self._clock()


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
    models, seconds, report = WatchedModels(_clock()), [], {}
    for _ in range(rounds + 1):
        seconds.append(taken := {})
        report = _run(job, models, taken)
        if "code" in report:
            print(json.dumps(report))
            return
    told = {"bundle": report["bundle"]["name"], "peak_memory_mb": report["peak_memory_mb"]}
    print(json.dumps({"seconds": seconds, **told}))


def _clock() -> Callable[[], float]:
    return time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter


def _run(job: DetectionJob, models: WatchedModels, seconds: dict[str, float]) -> dict[str, Any]:
    """The report of a run, or the event of its failure; the seconds of each stage are added to `seconds`."""
    clock = _clock()
    marks: list[tuple[str, float, float]] = []
    last: Event = {}

    def hear(event: Event) -> None:
        if event["event"] == "stage":
            marks.append((event["name"], clock(), models.spent))
        elif event["event"] == "error":
            last.update(event)

    with tempfile.TemporaryDirectory(prefix="conddiffusion-benchmark-") as folder:
        failed = run(replace(job, output=folder, force=True), hear, models=models)
        for (name, begin, before), (_, end, after) in pairwise([*marks, ("", clock(), models.spent)]):
            networks = after - before if name == SCORE else 0.0
            seconds[name] = seconds.get(name, 0.0) + end - begin - networks
            if networks:
                seconds[MAP] = seconds.get(MAP, 0.0) + networks
        if failed:
            return last
        found: dict[str, Any] = json.loads((Path(folder) / result_files.REPORT).read_text(encoding="utf-8"))
        return found


if __name__ == "__main__":
    main()
