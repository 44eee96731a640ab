"""What this computer can compute with, and a worker that is ready when the click comes.

It loads what a run takes while the user still looks at the scan, and leaves when nobody needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from conddiffusion_uad.protocol.job import is_number
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.ChildProcess import ChildProcess
from CondDiffusionUADLib.run.EngineLaunch import engineLaunch
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.Steps import timer
from CondDiffusionUADLib.run.WorkerProcess import WorkerProcess, readEvent

_MOST_TEXT = 64 * 1024  # bytes


@dataclass(frozen=True)
class FoundDevice:
    """A device: as the engine calls it, and for people."""

    name: str
    text: str


@dataclass(frozen=True)
class Devices:
    """What was found, and a sentence about it."""

    found: tuple[FoundDevice, ...]
    hint: str


class DeviceProbe:
    """Asks the engine once.

    Args:
        done: Receives the answer.
    """

    def __init__(self, done: Callable[[Devices], None]) -> None:
        self._done = done
        self._process: ChildProcess | None = None
        self._text = b""

    def start(self) -> None:
        """Ask, unless that is under way."""
        if self._process is None:
            self._text = b""
            try:
                launch = engineLaunch("devices", "--json")
                self._process = ChildProcess(launch, self._onEnded, self._onOutput, _ignore)
                self._process.start()
            except (ProblemError, OSError) as error:
                self._process = None
                self._done(Devices((), Problems.fromError(error).text))

    def stop(self) -> None:
        """Give up asking."""
        process, self._process = self._process, None
        if process is not None:
            process.abandon()

    def _onOutput(self, data: bytes) -> None:
        self._text = (self._text + data)[:_MOST_TEXT]

    def _onEnded(self, started: bool, _code: int) -> None:
        self._process = None
        if not started:
            self._done(Devices((), _("The Python of the environment does not run.")))
            return
        events = [event for event in map(readEvent, self._text.decode("utf-8", "replace").splitlines()) if event]
        self._done(understood(events[-1]) if events else Devices((), _("What can compute could not be found out.")))


def _ignore(data: bytes) -> None:
    """What libraries say."""


def understood(event: dict[str, Any]) -> Devices:
    """What an event "devices" or "ready" says of them, or why it is something else."""
    if event["event"] not in ("devices", "ready"):
        return Devices((), Problems.fromEvent(event).text)
    listed = event.get("devices")
    devices = [device for device in listed if _isDevice(device)] if isinstance(listed, list) else []
    if not devices:
        return Devices((), _("What can compute will be found out by the first detection."))
    found = tuple(FoundDevice(device["name"], _text(device)) for device in devices)
    cards = [device for device in devices if device["name"].startswith("cuda")]
    if not cards:
        hint = _("No NVIDIA graphics card was found (PyTorch {version}); the CPU takes about half a minute a scan.")
    elif all(device.get("supported") for device in cards):
        hint = _("PyTorch {version}.")
    else:
        hint = _("PyTorch {version} is too old for a graphics card here; choose the CPU or repair the installation.")
    return Devices(found, hint.format(version=str(event.get("torch"))[:40]))


def _isDevice(device: Any) -> bool:
    return isinstance(device, dict) and isinstance(device.get("name"), str) and isinstance(device.get("label"), str)


def _text(device: dict[str, Any]) -> str:
    if not is_number(device.get("memory_gb"), 0, 1e6):
        return str(device["label"])
    number = str(device["name"]).rpartition(":")[2]
    return _("GPU {number}: {label}, {memory} GB").format(
        number=number, label=device["label"], memory=device["memory_gb"]
    )


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
        self._unloaded: Callable[[], None] = lambda: None
        self.megabytes: int | None = None
        self._idle = timer(self.dismiss)

    def prepare(self, bundle: str, device: str, told: Callable[[Devices], None], unloaded: Callable[[], None]) -> None:
        """Let the worker load; `told` receives what can compute, or why not, `unloaded` is called when it is gone."""
        self.stay()
        self._told, self._unloaded = told, unloaded
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
        self.unload()
        self._tell(Devices((), problem.text))

    def unload(self) -> None:
        """Nothing is loaded any more."""
        self.megabytes, self.loaded = None, False
        self._unloaded()

    def forget(self) -> None:
        """Nobody waits for a preparation any more."""
        self._idle.stop()
        self._told = None

    def close(self) -> None:
        """Nobody wants to be told anything any more."""
        self.forget()
        self._unloaded = lambda: None

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
