"""What can go wrong, each as one sentence and one that says what to do, in the words of the panel."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

CANCELED = "cancelled"
REFUSED = "quality_refused"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class Problem:
    """Why a detection gave no result.

    Attributes:
        code: Stable name.
        message: What happened.
        hint: What to do; may be empty.
    """

    code: str
    message: str
    hint: str = ""

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
    return Problem(code, message, _panelHints().get(code, str(event.get("hint", ""))))


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


def _panelHints() -> dict[str, str]:
    """Hints that name what is in the panel; the engine's own name options of its command line."""
    again = _("Choose another volume.")
    return {
        "out_of_memory": _("Close other programs, or choose the device CPU or the quality Fast, and detect again."),
        "device_unsupported": _("Choose the device CPU, or install a newer PyTorch with the module PyTorch Utils."),
        "device_lost": _("Choose the device CPU, or restart the computer, and detect again."),
        "other_levels": _("Choose the quality Full for scores that can be compared."),
        "registration_poor": _("Look at the scan's orientation, or tell in the panel whether the skull is removed."),
        "memory_scarce": _("Close other programs."),
        "no_such_device": _("Choose another device and detect again."),
        "torch_missing": _("Detect again and agree to the installation."),
        "torch_broken": _("Uninstall PyTorch in the module PyTorch Utils, restart Slicer and detect again."),
        "package_missing": _("Detect again and agree to the installation."),
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
        "label_map": _("Choose the scan itself."),
        REFUSED: _("Choose another volume or the right contrast, or run it anyway."),
        "unforeseen": _("Copy the diagnostics below and report it."),
    }
