"""Takes the worker's output apart into events and everything else, the log. Standard library only."""

from __future__ import annotations

from typing import Any

from conddiffusion_uad.protocol.events import decode
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import is_number

_MOST_LOG = 256 * 1024  # characters
_MOST_LINE = 64 * 1024  # bytes; events are far shorter
_MOST_SECONDS = 1e9  # that a run can be said to take


class LineBuffer:
    """Puts lines together from pieces that may end anywhere, also within a character.

    Of a line that does not end only the beginning is kept.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now, without their ends."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MOST_LINE]
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]

    def rest(self) -> list[str]:
        """The last line, if it did not end."""
        line, self._rest = self._rest, b""
        return [line.decode("utf-8", "replace")] if line else []


def readEvent(line: str) -> dict[str, Any] | None:
    """The event on a line of the worker's standard output; None when it is something else."""
    try:
        event = decode(line)
    except BadInput:
        return None
    kind = event.get("event")
    if kind == "progress":
        left = event.get("eta_s")
        known = is_number(event.get("fraction"), 0, 1) and (left is None or is_number(left, 0, _MOST_SECONDS))
        return event if known else None
    return event if isinstance(kind, str) else None


class Log:
    """The last lines that were logged."""

    def __init__(self, most: int = _MOST_LOG) -> None:
        self._most = most
        self._lines: list[str] = []
        self._size = 0

    def add(self, line: str) -> None:
        """Add a line; the oldest ones leave when there is too much."""
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self._most and len(self._lines) > 1:
            self._size -= len(self._lines.pop(0)) + 1

    def text(self) -> str:
        """All lines."""
        return "\n".join(self._lines)
