"""Lets the worker load what a run takes while the user still looks at the scan, and lets it go when nobody needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conddiffusion_uad.protocol.job import is_number
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.DeviceProbe import Devices, understood
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.Timers import timer
from CondDiffusionUADLib.run.WorkerProcess import WorkerProcess

IDLE_MS = 10 * 60 * 1000  # how long an idle worker keeps its memory
JOB = 0  # the number of a preparation; those of runs begin with 1
# After these, a new process is needed: what a Python once failed to import stays so.
NEEDS_NEW_PROCESS = (
    "torch_missing",
    "torch_broken",
    "package_missing",
    "device_unsupported",
    "device_lost",
    "out_of_memory",
)


class Readiness:
    """Whether the worker is ready, and for how long.

    Args:
        worker: The worker.

    Attributes:
        megabytes: The memory that the worker held when it was ready; None when it is not there or not ready.
        loaded: Whether libraries and weights are there: after a preparation, and after a run.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self.loaded = False
        self._told: Callable[[Devices], None] | None = None
        self.megabytes: int | None = None
        self._idle = timer(self.dismiss)

    def prepare(self, bundle: str, device: str, told: Callable[[Devices], None]) -> None:
        """Let the worker load; `told` receives what can compute, or why that is not known."""
        self.stay()
        self._told = told
        try:
            self._worker.prepare()
            self._worker.send({"job": "prepare", "id": JOB, "bundle": bundle, "device": device})
        except (ProblemError, OSError) as error:
            self._tell(Devices((), Problems.fromError(error).text))

    def hear(self, event: dict[str, Any]) -> bool:
        """Take an event of the worker; whether it was the end of a preparation."""
        if event.get("id") != JOB or isinstance(event["id"], bool) or event["event"] not in ("ready", "error"):
            return False
        if event["event"] == "error" and event.get("code") in NEEDS_NEW_PROCESS:
            self._worker.stop()
        memory = event.get("memory_mb")
        self.megabytes = round(memory) if is_number(memory, 0, 1e9) else None
        self.loaded = event["event"] == "ready"
        self._tell(understood(event))
        return True

    def ended(self, problem: Problem) -> None:
        """The worker is gone."""
        self._idle.stop()
        self.megabytes, self.loaded = None, False
        self._tell(Devices((), problem.text))

    def forget(self) -> None:
        """Nobody wants to be told any more."""
        self._idle.stop()
        self._told = None

    def stay(self) -> None:
        """There is work: let the worker not go."""
        self._idle.stop()

    def rest(self) -> None:
        """There is no more work: let the worker go when none comes."""
        if self._worker.running:
            self._idle.start(IDLE_MS)

    def dismiss(self) -> None:
        """Let the worker go."""
        self._idle.stop()
        self._worker.stop()

    def _tell(self, devices: Devices) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(devices)
