"""Which packages the engine needs, and which of them are missing or damaged. Imports none of them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)\s*>=\s*(?P<floor>[0-9.]+)\s*(;\s*(?P<marker>.+))?")
_OLDER_PYTHON = re.compile(r'python_version\s*<\s*"(\d+)\.(\d+)"')
TORCH = "torch"


@dataclass(frozen=True)
class Requirement:
    """A package and the oldest version that will do."""

    name: str
    floor: str

    def __str__(self) -> str:
        return f"{self.name}>={self.floor}"


class Installed(Protocol):
    """What is installed."""

    def version(self, name: str) -> str | None:
        """The version of a package; None when it is missing, empty when it is damaged."""


class PythonPackages:
    """What is installed in this Python."""

    def version(self, name: str) -> str | None:
        """The version of a package; None when it is missing, empty when it is damaged."""
        importlib.invalidate_caches()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        if name != TORCH:
            return version
        # An interrupted installation or removal leaves a folder without code, or code without its description.
        try:
            spec = importlib.util.find_spec(TORCH)
        except (ImportError, ValueError):
            spec = None
        whole = spec is not None and spec.origin is not None
        if not version:
            return "" if spec is not None else None
        return version if whole else ""


def readRequirements(text: str) -> list[Requirement]:
    """The requirements in a requirements.txt that has floors and, as markers, only "older than a Python version".

    Raises:
        ValueError: A line says something else.
    """
    found = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        match = _LINE.fullmatch(line)
        older = _OLDER_PYTHON.fullmatch(match["marker"]) if match and match["marker"] else None
        if match is None or (match["marker"] and older is None):
            raise ValueError(f"{line!r} is no requirement of the form name>=version.")
        if older is None or sys.version_info[:2] < (int(older[1]), int(older[2])):
            found.append(Requirement(match["name"], match["floor"]))
    return found


def missing(requirements: Iterable[Requirement], installed: Installed) -> list[Requirement]:
    """The requirements that are not satisfied."""
    return [requirement for requirement in requirements if not _satisfies(installed, requirement)]


def _satisfies(installed: Installed, requirement: Requirement) -> bool:
    version = installed.version(requirement.name)
    return bool(version) and _numbers(version or "") >= _numbers(requirement.floor)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 13, 0) of "2.13.0+cu130"."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()
