"""Which Pythons an environment may be made with, in the order in which they are tried. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)
FETCHED = "3.12"  # the version of a Python that uv is to fetch


@dataclass(frozen=True)
class Candidate:
    """A Python.

    Attributes:
        name: For people.
        request: As uv takes it: a path, or a version to fetch.
        fetched: Whether uv has to fetch it first.
        variables: Environment variables that it needs to start.
    """

    name: str
    request: str
    fetched: bool = False
    variables: tuple[tuple[str, str], ...] = ()


def candidates(named: str, installed: Callable[[], str], appleSilicon: bool) -> Iterator[Candidate]:
    """The Pythons to try: the one that was named alone, or else those that this computer offers.

    Args:
        named: A path or a version; empty to choose.
        installed: Gives what "uv python list --only-installed --output-format json" says; asked when it is needed.
        appleSilicon: Slicer's own Python is one for Intel's processors then, with a PyTorch of 2.2 at most.
    """
    if named:
        yield Candidate(f"the Python that was named, {named}", named)
        return
    slicers, fetched = slicersPython(), Candidate(f"a Python {FETCHED} to fetch", f"cpython-{FETCHED}", True)
    own = [slicers] if slicers is not None else []
    if appleSilicon:
        yield Candidate(fetched.name, f"cpython-{FETCHED}-macos-aarch64", True)
        yield from ofSystem(installed(), "aarch64")
        yield from own
        return
    yield from own
    yield from ofSystem(installed())
    yield fetched


def ofSystem(listed: str, architecture: str = "") -> Iterator[Candidate]:
    """The Pythons of the system that will do, each once, in uv's order, which is that of the search path.

    Args:
        listed: JSON from uv.
        architecture: What they have to be built for; empty for any.
    """
    seen: set[Path] = set()
    try:
        entries = json.loads(listed)
    except ValueError:
        return
    for entry in entries:
        version = (entry["version_parts"]["major"], entry["version_parts"]["minor"])
        usual = entry["implementation"] == "cpython" and entry["variant"] not in ("freethreaded", "debug")
        fits = usual and OLDEST <= version <= NEWEST
        if not fits or not entry["path"] or architecture not in ("", entry["arch"]):
            continue
        path = Path(entry["path"])
        if path.resolve() not in seen:
            seen.add(path.resolve())
            yield Candidate(f"Python {entry['version']} of the system, {path}", str(path))


def slicersPython() -> Candidate | None:
    """The Python that runs this: in Slicer, the one that it carries; None when its program cannot be found.

    What Slicer calls its Python is a launcher, which an environment cannot be made with. The program behind it may need
    to be told where its libraries are.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = (
        Path(sys.executable).parent / ("python-real.exe" if os.name == "nt" else "python-real"),
        Path(sys.base_prefix) / ("python.exe" if os.name == "nt" else f"bin/{name}"),
    )
    for path in places:
        if path.is_file():
            for variables in ({}, _libraries()):
                if _runs(path, variables):
                    version = ".".join(map(str, sys.version_info[:3]))
                    described = f"Slicer's own Python {version}, {path}"
                    return Candidate(described, str(path), variables=tuple(variables.items()))
    return None


def _libraries() -> dict[str, str]:
    """Where Slicer's launcher says that libraries are."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}


def _runs(python: Path, variables: dict[str, str]) -> bool:
    left = ("PYTHON", *_libraries())
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith(left)}
    try:
        subprocess.run([python, "-c", ""], env={**clean, **variables}, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
