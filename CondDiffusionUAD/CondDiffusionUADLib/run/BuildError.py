"""Why there is no environment. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

FOR_ALL = ("no_room", "declined", "disk_full", "no_network", "cannot_write", "download_broken")
"""One Python is as good as another for these: the next one would fail in the same way."""

NO_FETCH = ("no_network", "download_broken")
"""Why a Python cannot be fetched."""

_TELLING = ("no_wheels", *NO_FETCH)  # where every Python fails for it, it says more than that none can be used


class BuildError(Exception):
    """There is no environment.

    Args:
        code: Name of the problem.
        message: What a program said.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class FetchError(BuildError):
    """A Python could not be fetched; one that is on this computer may do."""


def whyNone(refused: Sequence[tuple[str, str]], codes: Collection[str]) -> BuildError:
    """Why no Python will do, from the name of each with the reason, and from the codes of the reasons."""
    (code,) = codes if len(codes) == 1 else ("",)
    if code in _TELLING:
        return BuildError(code, refused[0][1])
    reasons = "; ".join(f"{name}: {why}" for name, why in refused)
    return BuildError("no_python", reasons or "there is none on this computer")
