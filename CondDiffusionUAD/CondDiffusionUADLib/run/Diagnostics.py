"""A text for bug reports that names versions and messages, and nobody."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from pathlib import Path

from conddiffusion_uad import __version__

PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "monai", "scikit-image", "safetensors", "nibabel", "deepbet")
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
        ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
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
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _version(name: str) -> str:
    try:
        return metadata.version(name) or "damaged"
    except metadata.PackageNotFoundError:
        return "not installed"
