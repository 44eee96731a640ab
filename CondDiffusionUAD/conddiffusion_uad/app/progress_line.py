"""One line on stderr that shows how far something is, drawn over and over in a terminal."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress

WIDTH = 28  # of the bar, in characters


class ProgressLine:
    """The line, and other lines above it.

    Attributes:
        live: Whether stderr is a terminal, so that a line can be drawn over.
    """

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._drawn = False

    def draw(self, title: str, share: float, rest: str = "") -> None:
        """Draw a bar with a title before and a text behind it, cut to the terminal's width; nothing if not live."""
        if not self.live:
            return
        filled = round(WIDTH * share)
        line = f"{title} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {rest}".rstrip()
        width = shutil.get_terminal_size().columns - 1
        _print("\r" + line[:width].ljust(width))
        self._drawn = True

    def say(self, line: str) -> None:
        """Print a line in place of the bar, which is to be drawn again."""
        self.clear()
        if line:
            _print(line + "\n")

    def clear(self) -> None:
        """Remove the bar."""
        if self._drawn:
            _print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._drawn = False


def _print(text: str) -> None:
    with suppress(OSError):  # nobody may be reading stderr any more; the run goes on
        print(text, end="", file=sys.stderr, flush=True)
