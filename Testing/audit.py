#!/usr/bin/env python3
"""Looks up whether the oldest accepted version of a dependency has a known vulnerability: python3 Testing/run.py audit

It takes pip-audit and a connection to a database of vulnerabilities. Without them, it says loudly that nothing was
checked, and does not fail: a computer without internet can still run all tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
PATIENCE_S = 120

ACCEPTED = {
    "torch": "Slicer on macOS gets 2.2 at most; a detection loads no pickle, compiles nothing and opens no port.",
    "monai": "Newer ones need a newer torch; its downloads, archives and pickled checkpoints are not used.",
}
"""Packages whose floor may have known vulnerabilities, and why."""


class AuditError(Exception):
    """Nothing could be checked; the message says why."""


@dataclass(frozen=True)
class Flaw:
    """A known vulnerability of a package's oldest accepted version."""

    package: str
    version: str
    identifier: str
    fixed: str


def floors(text: str) -> list[str]:
    """The oldest accepted versions that a requirements file names, as pins."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in text.splitlines())
    return [re.sub(r">=", "==", line) for line in lines if line and not line.startswith("-")]


def tool() -> Path:
    """A Python that has pip-audit, in an environment of its own that is made when it is missing. Raises AuditError."""
    folder = Path(sys.prefix) / "audit"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit"],
    ):
        if not _has_tool(python) and subprocess.run(command, check=False, timeout=PATIENCE_S).returncode:
            raise AuditError("pip-audit cannot be installed")
    return python


def _has_tool(python: Path) -> bool:
    command = [str(python), "-c", "import pip_audit"]
    return python.exists() and not subprocess.run(command, capture_output=True, check=False).returncode


def look_up(pins: list[str]) -> dict[str, Any]:
    """What pip-audit tells about pinned packages. Raises AuditError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "floors.txt"
        file.write_text("\n".join(pins) + "\n", encoding="utf-8")
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "-r", str(file)]
        try:
            command = [str(tool()), "-m", "pip_audit", *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
            return json.loads(done.stdout)
        except subprocess.TimeoutExpired as error:
            raise AuditError(f"no answer within {PATIENCE_S} s") from error
        except ValueError as error:
            lines = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
            raise AuditError(lines[-1][:200]) from error


def flaws(told: dict[str, Any]) -> list[Flaw]:
    """The vulnerabilities in what pip-audit told. Raises AuditError when a package was not checked."""
    unchecked = [package["name"] for package in told["dependencies"] if "vulns" not in package]
    if unchecked or not told["dependencies"]:
        raise AuditError(f"the database does not know {', '.join(unchecked) or 'any package'}")
    return [
        Flaw(package["name"], package["version"], flaw["id"], ", ".join(flaw["fix_versions"]) or "no version")
        for package in told["dependencies"]
        for flaw in package["vulns"]
    ]


def main() -> int:
    """Look up and tell; 1 when there is a vulnerability that is not accepted."""
    try:
        found = flaws(look_up(floors(REQUIREMENTS.read_text(encoding="utf-8"))))
    except AuditError as error:
        print(f"!!! SKIPPED: the dependencies were not checked for known vulnerabilities: {error}. !!!")
        return 0
    for flaw in found:
        reason = ACCEPTED.get(flaw.package)
        print(
            f"{flaw.package} {flaw.version}: {flaw.identifier}, fixed in {flaw.fixed}. {reason or 'Raise the floor.'}"
        )
    refused = [flaw for flaw in found if flaw.package not in ACCEPTED]
    print(f"{len(found)} known vulnerabilities of oldest accepted versions, {len(refused)} of them not accepted.")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
