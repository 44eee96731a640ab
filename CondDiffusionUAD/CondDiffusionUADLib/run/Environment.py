"""The Python environment that the engine runs in: where it lies, whether it is whole, what it is made of.

Our own lies in a folder of the user, outside of Slicer, and serves every Slicer of that user. Its name is made from
what was asked for, so that a newer version of the extension makes another one. It is built under a temporary name and
renamed at the end: one that has its name is complete. Standard library only: what builds it imports this too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conddiffusion_uad.protocol.user_folder import user_folder

VARIABLE = "CONDDIFFUSION_UAD_ENGINE"
"""Environment variable that names another folder for the environments."""

RECORD_FILE = "conddiffusion-uad.json"
OLD = ".old-"
"""Begins the names of what is to be removed."""

_LEFT = (".new-*", f"{OLD}*", ".cache-*", ".work-*")
_FORMAT = "1"  # changes when environments have to be made differently from the same requirements
_RENAMING_S = 10.0  # on Windows, a virus scanner keeps new files open for a while


@dataclass(frozen=True)
class Record:
    """How an environment was made, kept in it.

    Attributes:
        python: Version of its Python.
        torch: Version of PyTorch in it.
        taken: Which Python it was made with.
        refused: Which others were tried before, and why they were not taken.
        packages: Name and version of what is in it.
        megabytes: What it takes of the disk.
        variables: Environment variables that its Python needs to start.
        made: When, seconds since 1970.
    """

    python: str
    torch: str
    taken: str
    refused: tuple[tuple[str, str], ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    megabytes: int = 0
    variables: tuple[tuple[str, str], ...] = ()
    made: float = field(default_factory=time.time)


def engineFolder() -> Path:
    """The folder of the environments and of what builds them. Raises OSError for a user without a home folder."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    base = user_folder()
    if base is None:
        raise OSError("This user has no home folder.")
    return base / "Engine"


def environmentFolder(requirements: Path) -> Path:
    """Where the environment for these requirements lies, or would. Raises OSError."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    text = "\n".join([_FORMAT, *sorted(filter(None, lines))])
    return engineFolder() / hashlib.sha256(text.encode("utf-8")).hexdigest()[:10]


def pythonIn(environment: Path) -> Path:
    """The Python of an environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def pythonOf(named: Path) -> Path:
    """The Python of an environment that was made by hand and named by its folder, or by that Python itself."""
    if not named.is_dir():
        return named
    python, condas = pythonIn(named), named / "python.exe"
    return condas if os.name == "nt" and not python.is_file() and condas.is_file() else python


def readRecord(environment: Path) -> Record | None:
    """How an environment was made; None when there is none, or its Python has gone with the one it was made from."""
    try:
        kept = json.loads((environment / RECORD_FILE).read_text(encoding="utf-8"))
        record = Record(
            python=str(kept["python"]),
            torch=str(kept["torch"]),
            taken=str(kept["taken"]),
            refused=_pairs(kept["refused"]),
            packages=_pairs(kept["packages"]),
            megabytes=int(kept["megabytes"]),
            variables=_pairs(kept["variables"]),
            made=float(kept["made"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if pythonIn(environment).exists() and _base(environment).exists() else None


def writeRecord(environment: Path, record: Record) -> None:
    """Keep how an environment was made. Raises OSError."""
    (environment / RECORD_FILE).write_text(json.dumps(vars(record), indent=1), encoding="utf-8")


def buildingFolder(environment: Path) -> Path:
    """A temporary name for an environment that is being built."""
    return environment.with_name(f".new-{environment.name}-{os.getpid()}")


def putInPlace(building: Path, environment: Path) -> None:
    """Give a finished environment its name, in the place of one that is there, left to `sweep`. Raises OSError."""
    old = environment.with_name(f"{OLD}{environment.name}-{os.getpid()}")
    if environment.exists():
        _rename(environment, old)
    try:
        _rename(building, environment)
    except OSError:
        if old.exists():
            _rename(old, environment)
        raise


def leftovers(folder: Path) -> list[Path]:
    """What broken-off installations left, and what one that is under way is making."""
    return [left for pattern in _LEFT for left in folder.glob(pattern)]


def sweep(folder: Path) -> None:
    """Remove what broken-off installations left; only while holding the lock of the folder."""
    for left in leftovers(folder):
        shutil.rmtree(left, ignore_errors=True)


def size(folder: Path) -> int:
    """What a folder takes of the disk in bytes; a file with several names counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))
            except OSError:  # being written, and gone again
                continue
            if status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def _base(environment: Path) -> Path:
    """The folder of the Python that an environment was made from. Raises nothing: an unknown one does not exist."""
    try:
        lines = (environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    fields = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return Path(fields.get("home", os.devnull + "/none"))


def _pairs(kept: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in kept)


def _rename(source: Path, target: Path) -> None:
    until = time.monotonic() + (_RENAMING_S if os.name == "nt" else 0.0)
    while True:
        try:
            source.rename(target)
            return
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.2)
