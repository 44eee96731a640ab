"""Where the files of the module are, and where its temporary ones are. Standard library only."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from conddiffusion_uad.protocol.folder_lock import LockedError, acquire


def moduleFolder() -> Path:
    """The folder that holds this library and the engine; a Python with it on its path can run the engine."""
    return Path(__file__).resolve().parents[2]


def resource(relative: str) -> Path:
    """A file or folder in Resources: beside the module once installed, at the top of the project in a checkout.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    for parent in (moduleFolder(), moduleFolder().parent):
        path = parent / "Resources" / relative
        if path.exists():
            return path
    raise FileNotFoundError(f"Resources/{relative} is missing from this installation of CondDiffusionUAD.")


PREFIX = "CondDiffusionUAD-"
_YOUNG_S = 10.0  # a younger one may just be about to be locked
_OLD_S = 7 * 24 * 3600.0  # where the file system knows no locks, an older one belongs to nobody any more


class PrivateFolder:
    """A folder that only this user can look into; it is locked as long as this process lives.

    Args:
        parent: Where it is made.

    Attributes:
        path: The folder.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, parent: str | Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=str(parent)))
        try:
            self._lock = acquire(self.path)
        except LockedError:  # by a sweep that just looks at it
            self._lock = None

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if self._lock is not None:
            os.close(self._lock)  # first: Windows cannot remove a folder whose lock is held
            self._lock = None
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(parent: str | Path) -> list[Path]:
    """Remove the folders of processes that are gone; returns them. Those of others and of living ones stay."""
    removed = []
    for folder in Path(parent).glob(f"{PREFIX}*"):
        if _isOurs(folder) and _isAbandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _isOurs(folder: Path) -> bool:
    """Whether it is a folder of this user, and no link to one."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and (os.name == "nt" or status.st_uid == os.getuid())


def _isAbandoned(folder: Path) -> bool:
    """Whether no living process holds it."""
    try:
        age = time.time() - folder.stat().st_mtime
        if age < _YOUNG_S:
            return False
        lock = acquire(folder)
    except (OSError, LockedError):
        return False
    if lock is None:
        return age > _OLD_S
    os.close(lock)
    return True
