"""What the user decides once for all scenes, kept in Slicer's settings."""

from __future__ import annotations

import slicer

_ENVIRONMENT = "CondDiffusionUAD/EnvironmentPython"
_PYTHON = "CondDiffusionUAD/PythonToBuildWith"
_KEEP_READY = "CondDiffusionUAD/KeepReady"


def environmentPython() -> str:
    """The Python of the environment that the user made by hand and named; empty for our own environment."""
    return _text(_ENVIRONMENT)


def setEnvironmentPython(python: str) -> None:
    """Name an environment; empty for our own."""
    _set(_ENVIRONMENT, python)


def pythonToBuildWith() -> str:
    """The Python to make our own environment with; empty to let it be chosen."""
    return _text(_PYTHON)


def setPythonToBuildWith(python: str) -> None:
    """Name a Python, from a script, as nothing in the panel does; empty to let it be chosen."""
    _set(_PYTHON, python)


def keepReady() -> bool:
    """Whether the libraries and the model are loaded while the user still looks at the scan."""
    return _text(_KEEP_READY) != "false"


def setKeepReady(wanted: bool) -> None:
    """Load them early, or only at the click."""
    _set(_KEEP_READY, "" if wanted else "false")


def _text(key: str) -> str:
    return str(slicer.app.userSettings().value(key) or "")


def _set(key: str, value: str) -> None:
    settings = slicer.app.userSettings()
    if value:
        settings.setValue(key, value)
    else:
        settings.remove(key)
