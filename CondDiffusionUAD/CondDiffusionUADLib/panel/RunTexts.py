"""What the panel says of a run: its stages, the time that it takes still, and its warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slicer.i18n import tr as _


def withWarnings(summary: str, warnings: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """What is said about a result at once, and what the details say.

    Args:
        summary: What was found.
        warnings: Message and hint of each.
    """
    if not warnings:
        return _("{summary}; scan quality OK").format(summary=summary), ""
    details = "\n".join(f"\u2022 {message} {hint}".strip() for message, hint in warnings)
    count = len(warnings)
    said = _("{summary}; 1 warning") if count == 1 else _("{summary}; {count} warnings")
    return said.format(summary=summary, count=count), details


def remaining(seconds: float) -> str:
    """The remaining time for people, as the end of a sentence."""
    if seconds < 90:
        return _(", about {count} s left").format(count=max(1, round(seconds)))
    return _(", about {count} min left").format(count=math.ceil(seconds / 60))


def stageTitle(name: str) -> str:
    """What a stage of a run is called."""
    titles = {
        "export": _("Handing over the scan"),
        "read": _("Reading the scan"),
        "load": _("Loading the model"),
        "orient": _("Orienting"),
        "strip": _("Finding the brain"),
        "register": _("Registering to the atlas"),
        "bias": _("Correcting the bias field"),
        "normalize": _("Normalizing"),
        "resample": _("Resampling"),
        "check": _("Checking the scan"),
        "reconstruct": _("Reconstructing"),
        "score": _("Scoring"),
        "restore": _("Bringing the result back to the scan"),
        "findings": _("Collecting findings"),
        "report": _("Writing results"),
        "import": _("Loading the results"),
    }
    return titles.get(name, name)
