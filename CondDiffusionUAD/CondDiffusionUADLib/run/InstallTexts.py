"""What is said about the engine's environment and its installation, and to whom."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from slicer.i18n import tr as _

from conddiffusion_uad.protocol.job import is_number
from CondDiffusionUADLib.run.Environment import Record
from CondDiffusionUADLib.run.Problems import Problem

# Measured on Linux, uv and all: downloaded, and then on the disk. With an NVIDIA card, PyTorch is the large build.
DOWNLOAD_MB, DISK_GB = 400, 1.5
GPU_DOWNLOAD_MB, GPU_DISK_GB = 3200, 7.0
_DOWNLOADING = 0.85  # of all the work


@dataclass(frozen=True)
class EnvironmentState:
    """The Python environment that the engine runs in.

    Attributes:
        ready: Whether it is complete: a detection can begin.
        named: Whether it is one that the user made by hand and named, instead of our own.
        place: Its folder; where it would be when it is not there.
        megabytes: Its size on the disk; None when it is not there or not ours.
        text: A sentence or two about it for the panel: what it is, or why it cannot be used.
    """

    ready: bool
    named: bool
    place: Path
    megabytes: int | None
    text: str

    @property
    def usesNamed(self) -> bool:
        """Whether one that the user named is in use: it has not gone."""
        return self.named and self.ready


class InstallListener(Protocol):
    """Who is told how an installation goes."""

    def onStep(self, text: str, fraction: float | None) -> None:
        """What is being done, in words and megabytes; how much of all is done (0..1), None when that is not known."""

    def onQuestion(self, text: str) -> bool:
        """Ask the user, who may decline: the download is larger than was said, for one."""

    def onLog(self, line: str) -> None:
        """A line for the log."""

    def onInstalled(self, problem: Problem | None) -> None:
        """It is over: the environment is ready, or it is as it was before and the problem says why.

        Ready it may be after `Installer.cancel` too, which came too late then.
        """


def hasNvidia() -> bool:
    """Whether this computer has a driver of NVIDIA's: PyTorch comes in the large build then."""
    driver = Path(os.environ.get("SYSTEMROOT", "")) / "System32" / "nvcuda.dll"
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists() or driver.is_file()


def expectedBytes(gpu: bool) -> int:
    """Bytes of the download that the question names."""
    return (GPU_DOWNLOAD_MB if gpu else DOWNLOAD_MB) * 1_000_000


def question(folder: Path, gpu: bool, wheels: Path | None, named: str) -> str:
    """What to ask before an installation, which is to take the place of an environment that was named, if one was."""
    disk = GPU_DISK_GB if gpu else DISK_GB
    if wheels is not None:
        source = _("Everything is taken from the folder {folder}; nothing is downloaded.").format(folder=wheels)
    else:
        size = GPU_DOWNLOAD_MB if gpu else DOWNLOAD_MB
        text = _("Download: about {size} MB, from the Python package index and from PyTorch.")
        source = text.format(size=f"{size:,}")
    text = _(
        "To detect anomalies, the module needs PyTorch and other Python packages, once for all versions of Slicer.\n\n"
        "{source} They take about {disk} GB in {folder}. Slicer itself is not changed, and they can be removed in the "
        "panel at any time. They run the model on this computer; no data leaves it.{instead}\n\nInstall them now?"
    )
    instead = "\n\n" + _("They are then used instead of {python}.").format(python=named) if named else ""
    return text.format(source=source, disk=f"{disk:g}", folder=folder, instead=instead)


def largerQuestion(event: dict[str, Any]) -> str:
    """What to ask when the download turns out to be larger than was said."""
    text = _(
        "The download is larger than expected: {size} MB, about {disk} GB on the disk. PyTorch's own package index "
        "could not be used, and the build in the main one has the code for graphics cards in it.\n\nGo on?"
    )
    return text.format(size=_megabytes(event.get("download")), disk=f"{_number(event.get('disk')) / 1e9:.1f}")


def step(event: dict[str, Any]) -> tuple[str, float | None]:
    """What is being done, and how much of all is done."""
    name = str(event.get("name", ""))
    done, total = _number(event.get("done")), _number(event.get("total"))
    if name == "download":
        if not total:
            return _("Installing the packages"), None
        if done >= total:
            return _("Installing the packages"), _DOWNLOADING
        text = _("Downloading: {done} of {total} MB").format(done=_megabytes(done), total=_megabytes(total))
        return text, _DOWNLOADING * done / total
    texts = {
        "wait": _("Waiting until another installation has ended"),
        "uv": _("Getting the installer uv"),
        "python": _("Making an environment"),
        "fetch_python": _("Downloading a Python"),
        "resolve": _("Finding the packages for this computer"),
        "try": _("Trying what was installed"),
    }
    return texts.get(name, name), 0.95 if name == "try" else None


def own(record: Record) -> str:
    """What our own environment is."""
    text = _("Python {python}, PyTorch {torch}, {size} MB.")
    return text.format(python=record.python, torch=record.torch, size=f"{record.megabytes:,}")


def named(python: str) -> str:
    """What an environment is that the user made by hand."""
    return _("Your own environment: {python}").format(python=python)


def notThere(broken: bool) -> str:
    """There is no environment of ours, or one whose Python has gone."""
    if broken:
        return _("The Python that it was made from is no longer there: install it again.")
    return _("It is not installed yet.")


def _megabytes(size: Any) -> str:
    return f"{_number(size) / 1e6:,.0f}"


def _number(value: Any) -> float:
    return float(value) if is_number(value, 0, 1e15) else 0.0
