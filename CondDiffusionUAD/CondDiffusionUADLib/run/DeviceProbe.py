"""Finds out what this computer can compute with, in a process of its own: a broken torch must not end Slicer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.ChildProcess import ChildProcess
from CondDiffusionUADLib.run.WorkerMessages import readEvent
from CondDiffusionUADLib.run.WorkerProcess import engineLaunch

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
            self._process = ChildProcess(engineLaunch("devices", "--json"), self._onEnded, self._onOutput, _ignore)
            self._process.start()

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
            self._done(Devices((), _("PythonSlicer does not run.")))
            return
        events = [event for event in map(readEvent, self._text.decode("utf-8", "replace").splitlines()) if event]
        self._done(_understood(events[-1]) if events else Devices((), _("What can compute could not be found out.")))


def _ignore(data: bytes) -> None:
    """What libraries say."""


def _understood(event: dict[str, Any]) -> Devices:
    if event["event"] != "devices":
        return Devices((), Problems.fromEvent(event).text)
    found = tuple(FoundDevice(str(device["name"]), _text(device)) for device in event["devices"])
    cards = [device for device in event["devices"] if device["name"].startswith("cuda")]
    if not cards:
        hint = _("No NVIDIA graphics card was found (PyTorch {version}); the CPU takes about half a minute a scan.")
    elif all(device["supported"] for device in cards):
        hint = _("PyTorch {version}.")
    else:
        hint = _("PyTorch {version} is too old for a graphics card here; choose the CPU or install a newer PyTorch.")
    return Devices(found, hint.format(version=event["torch"]))


def _text(device: dict[str, Any]) -> str:
    if device["memory_gb"] is None:
        return str(device["label"])
    number = str(device["name"]).rpartition(":")[2]
    return _("GPU {number}: {label}, {memory} GB").format(
        number=number, label=device["label"], memory=device["memory_gb"]
    )
