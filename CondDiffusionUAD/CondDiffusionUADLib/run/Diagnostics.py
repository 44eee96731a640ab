"""A text for bug reports that names versions and messages, and nobody."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

from conddiffusion_uad import __version__
from CondDiffusionUADLib.run import UserSettings
from CondDiffusionUADLib.run.EngineLaunch import ownEnvironment
from CondDiffusionUADLib.run.Environment import readRecord

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "SimpleITK",
    "monai",
    "scikit-image",
    "safetensors",
    "nibabel",
    "pydicom",
    "deepbet",
)
_MOST_LINES = 200


def diagnostics(application: str, device: str, bundle: str, message: str, log: str, names: tuple[str, ...]) -> str:
    """What a developer needs to understand a failure.

    Args:
        application: Name, version and revision of the application.
        device: What was found to compute with.
        bundle: The chosen model.
        message: What the panel says.
        log: The worker's log; its last lines are taken.
        names: Names that must not be in it: of volumes, which often are names of patients.
    """
    lines = [
        f"CondDiffusionUAD {__version__}, {application}",
        f"{platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}",
        *_environment(),
        f"Device: {device}",
        f"Model: {Path(bundle).name}",
        f"Message: {message}",
        "Log:",
        *log.splitlines()[-_MOST_LINES:],
    ]
    return _withoutNames("\n".join(lines), names) + "\n"


def _withoutNames(text: str, names: tuple[str, ...]) -> str:
    """The text without the names, and without the user's name in paths."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "[name]", text)
    for home in {str(Path.home()), Path.home().as_posix()}:
        forms = (home, json.dumps(home)[1:-1], repr(home)[1:-1], ascii(home)[1:-1]) if len(home) > 1 else ()
        for form in forms:  # as it is, in a job, in a message of Python, and in one of the engine
            text = text.replace(form, "~")
    return text


def _environment() -> list[str]:
    """The environment that the engine runs in: what is in it, and why it was made with that Python."""
    named = UserSettings.environmentPython()
    if named:
        return [f"Environment: {named}, named by the user"]
    try:
        record = readRecord(ownEnvironment())
    except OSError as error:
        return [f"Environment: none ({error})"]
    if record is None:
        return ["Environment: not installed"]
    versions = {name.casefold().replace("_", "-"): version for name, version in record.packages}
    packages = (f"{name} {versions.get(name.casefold(), 'not there')}" for name in PACKAGES)
    return [
        f"Environment: Python {record.python}, {record.megabytes} MB, made with {record.taken}",
        *(f"  not with {name}: {why}" for name, why in record.refused),
        f"  {', '.join(packages)}",
    ]
