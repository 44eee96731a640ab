"""What can go wrong, each as one sentence and one that says what to do, in the words of the panel."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

CANCELED = "cancelled"
REFUSED = "quality_refused"
ANYWAY = "--accept-any-scan"  # the option that the button "Run anyway" stands for
_MOST_LISTED = 8
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class Problem:
    """Why a detection gave no result.

    Attributes:
        code: Stable name.
        message: What happened.
        hint: What to do; may be empty.
        acceptable: Whether the scan can be examined nevertheless.
    """

    code: str
    message: str
    hint: str = ""
    acceptable: bool = False

    @property
    def text(self) -> str:
        """Both sentences."""
        return f"{self.message} {self.hint}".strip()


class ProblemError(Exception):
    """A detection gave no result.

    Args:
        problem: Why.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def fromEvent(event: dict[str, Any]) -> Problem:
    """The problem that an error event of the engine tells, with a hint that fits the panel where there is one."""
    code = str(event.get("code", "unforeseen"))
    message = str(event.get("message", "")) or _("Something unforeseen went wrong.")
    # Options of the command line are called as in the panel: "--min-volume-ml" is "min volume ml".
    message = re.sub(r"(?<!\S)--([a-z-]+)", lambda option: option[1].replace("-", " "), message)
    hint = str(event.get("hint", ""))
    return Problem(code, message, panelHint(code, hint), acceptable=code == REFUSED or ANYWAY in hint)


def panelHint(code: str, hint: str) -> str:
    """What to do, in the panel's words; the engine's own hint, unless it speaks of its command line."""
    if ANYWAY in hint and code != REFUSED:  # it says what is then assumed
        return hint.replace(ANYWAY, _('"Run anyway"'))
    return _panelHints().get(code, "" if "--" in hint else hint)


def fromError(error: Exception) -> Problem:
    """The problem that an exception on Slicer's side tells."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, OSError) and error.errno in _FULL:
        return Problem("disk_full", _("The disk with Slicer's temporary folder is full."), _panelHints()["disk_full"])
    if isinstance(error, OSError):
        message = _("Slicer's temporary folder cannot be used: {reason}.").format(reason=error.strerror or error)
        return Problem("cannot_write", message, _panelHints()["cannot_write"])
    return Problem("results_unusable", str(error), _("Please detect again, and report it if it happens again."))


def canceled() -> Problem:
    """The user canceled."""
    return Problem(CANCELED, _("Canceled."))


def canceledTooLate() -> Problem:
    """The user canceled an installation, or a check, that had come to its end."""
    return Problem(CANCELED, _("The Python environment was ready already; it stays."))


def sceneClosed() -> Problem:
    """The scene was closed meanwhile."""
    hint = _("Load the scan and detect again.")
    return Problem("scene_closed", _("The scene was closed while the scan was being examined."), hint)


def inputDeleted() -> Problem:
    """The scan was deleted meanwhile."""
    hint = _("Load it and detect again.")
    return Problem("input_deleted", _("The scan was deleted while it was being examined."), hint)


def busy() -> Problem:
    """There is a run already."""
    return Problem("busy", _("Another scan is being examined."), _("Wait until it is done, or cancel it."))


def noBundle() -> Problem:
    """No model is there."""
    hint = _("Install the extension again; its folder Resources/Models is missing or damaged.")
    return Problem("bundle_not_found", _("No model is installed."), hint)


def contrastUnknown() -> Problem:
    """Nobody says which contrast the scan has."""
    message = _("Neither the DICOM tags nor the name of the volume tell its contrast.")
    return Problem("contrast_unknown", message, _panelHints()["contrast_unknown"])


def severalImages(titles: Sequence[str]) -> Problem:
    """The volume is not one scan, but several images."""
    listed = "; ".join(titles[:_MOST_LISTED]) + ("; ..." if len(titles) > _MOST_LISTED else "")
    message = _("The volume holds {count} images: {listed}.").format(count=len(titles), listed=listed)
    return Problem("several_images", message, _("Choose one of them in the panel: it becomes a volume of its own."))


def unknownBundle(name: str) -> Problem:
    """There is no model of that name."""
    message = _("There is no model {name}.").format(name=name)
    return Problem("bundle_not_found", message, _panelHints()["bundle_not_found"])


def notStarted(program: str) -> Problem:
    """The worker could not be started."""
    message = _("The computation could not be started: {program} does not run.").format(program=program)
    return Problem("worker_not_started", message, _("Install Slicer again, or let your antivirus program allow it."))


def died(exitCode: int) -> Problem:
    """The worker ended without an answer."""
    message = _("The computation ended unexpectedly (exit code {code}).").format(code=exitCode)
    hint = _("Often memory ran out: close other programs, detect again, and report it if it happens again.")
    return Problem("worker_died", message, hint)


def notInstalled() -> Problem:
    """There is no environment for the engine."""
    hint = _("Click Detect anomalies in the panel and agree to the installation.")
    return Problem("not_installed", _("What the detection needs is not installed yet."), hint)


def environmentGone(python: str) -> Problem:
    """The environment that the settings name is not there."""
    message = _("There is no Python {python}.").format(python=python)
    return Problem("environment_gone", message, _("Name another environment, or let the module make its own."))


def cannotKeepEnvironment(reason: str) -> Problem:
    """There is no place for an environment."""
    message = _("There is no place for the installation: {reason}").format(reason=reason)
    return Problem("cannot_write", message, _handmade())


def cannotRemove(reason: str) -> Problem:
    """Files are in use."""
    message = _("The installation cannot be removed: {reason}").format(reason=reason)
    return Problem("cannot_remove", message, _("Close other Slicer windows and try again."))


def busyInstalling() -> Problem:
    """An installation is under way already."""
    return Problem("busy", _("An installation is under way."), _("Wait until it is done, or cancel it."))


def declined() -> Problem:
    """The user does not want the installation."""
    hint = _("Detect again to be asked again.")
    return Problem("packages_declined", _("Without the installation nothing can be detected."), hint)


def installationFailed(reason: str) -> Problem:
    """The installation failed, and nobody foresaw how."""
    message = _("The installation failed ({reason}).").format(reason=reason or _("it ended unexpectedly"))
    return Problem("install_failed", message, _("Copy the diagnostics below and report it."))


def fromInstallation(code: str, said: str) -> Problem:
    """The problem that the process that installs tells.

    Args:
        code: Its name.
        said: What a program said; it is in the log too.
    """
    network = _("Check the connection and the proxy, or install from a folder of wheels (see the README).")
    offline = _("Try again, or install from a folder of wheels (see the README).")
    problems = {
        "no_network": (_("The packages could not be downloaded: {said}."), network),
        "download_broken": (_("A download arrived damaged: {said}."), offline),
        "no_room": (_("The disk does not have enough room: {said}"), _("Free some space and try again.")),
        "disk_full": (_("The disk is full."), _("Free some space and try again.")),
        "no_wheels": (_("Packages are missing: {said}."), _("See the README for what the folder has to hold.")),
        "no_python": (_("No Python can be used: {said}."), _handmade()),
        "unusable": (_("The engine does not run there: {said}."), _("Choose another environment.")),
        "cannot_write": (_("The installation cannot be written: {said}."), _("Check the rights of that folder.")),
    }  # fmt: skip
    if code == CANCELED:
        return canceled()
    if code == "declined":
        return declined()
    if code not in problems:
        return installationFailed(said)
    message, hint = problems[code]
    return Problem(code, message.format(said=said.rstrip(".")), hint)


def _handmade() -> str:
    """The way out where our own environment cannot be made."""
    return _(
        "Make an environment by hand, with a Python from 3.10 to 3.13 and the packages in Resources/requirements.txt, "
        'and choose it with "Use another..." in the settings below.'
    )


def _panelHints() -> dict[str, str]:
    """Hints that name what is in the panel; the engine's own name options of its command line."""
    again = _("Choose another volume.")
    repair = _("Repair the installation in the settings below, and detect again.")
    return {
        "out_of_memory": _("Close other programs, or choose the device CPU or the quality Fast, and detect again."),
        "device_unsupported": _("Choose the device CPU, or repair the installation in the settings below."),
        "device_lost": _("Choose the device CPU, or restart the computer, and detect again."),
        "other_levels": _("Choose the quality Full for scores that can be compared."),
        "too_few_samples": _(
            "Choose the quality Full or another model, or detect without the uncertainty of the score."
        ),
        "registration_poor": _("Look at the scan's orientation, or tell in the panel whether the skull is removed."),
        "memory_scarce": _("Close other programs."),
        "no_such_device": _("Choose another device and detect again."),
        "torch_missing": repair,
        "torch_broken": repair,
        "package_missing": repair,
        "contrast_unknown": _("Choose the contrast in the panel and detect again."),
        "contrast_not_in_bundle": _("Choose another model, another volume or the right contrast."),
        "bundle_not_calibrated": _("Choose another model or another contrast."),
        "bundle_not_found": _("Choose another model, or install the extension again."),
        "bundle_damaged": _("Install the extension again, or choose another model."),
        "not_finite_result": _("Choose the device CPU and detect again, or install the extension again."),
        "bundle_too_new": _("Update the extension, or choose another model."),
        "disk_full": _("Free some space there, or choose another temporary folder in the application settings."),
        "cannot_write": _("Choose another temporary folder in the application settings, and detect again."),
        "all_zero": again,
        "constant": again,
        REFUSED: _("Choose another volume or the right contrast, or run it anyway."),
        "unforeseen": _("Copy the diagnostics below and report it."),
    }
