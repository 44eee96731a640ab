"""What a study found of each scan with a bundle, a line of JSON each, so that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.protocol.expected_findings import USUAL

Line = dict[str, Any]


class KeptLines:
    """The lines of a file that are of one bundle, at the threshold where it starts; those of others stay in the file.

    Args:
        file: That is read, if it is there, and added to.
        bundle: That the lines tell of.
    """

    def __init__(self, file: Path, bundle: Bundle) -> None:
        self._file, self._bundle = file, f"{bundles.digest(bundle.path)[:16]} at {USUAL:g}"
        self._known = {line["name"]: line for line in read(file) if line["bundle"] == self._bundle}

    def get(self, name: str, made: Callable[[], Line]) -> Line:
        """The line of a scan, found now if it is not there."""
        if name not in self._known:
            line = {"bundle": self._bundle, "name": name, **made()}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._known[name] = line
        return self._known[name]


def read(file: Path) -> list[Line]:
    """All lines of a file; none when there is no file."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def latest(file: Path) -> list[Line]:
    """The lines of the bundle that the last one is of."""
    lines = read(file)
    return [line for line in lines if line["bundle"] == lines[-1]["bundle"]]
