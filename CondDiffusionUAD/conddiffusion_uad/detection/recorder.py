"""What happened during a run: seconds of each stage, and warnings."""

from __future__ import annotations

import time
from collections.abc import Mapping

from conddiffusion_uad.protocol.events import Progress
from conddiffusion_uad.protocol.failures import printable


class Recorder:
    """A `Progress` that passes everything on and remembers it for the report.

    Attributes:
        seconds: How long each stage took that is over.
        warnings: With their code, message and hint.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._name: str | None = None
        self._since = 0.0
        self.seconds: dict[str, float] = {}
        self.warnings: list[dict[str, str]] = []

    def stage(self, name: str) -> None:
        """Enter a stage; the one before it is over."""
        self.stop()
        self._name, self._since = name, time.perf_counter()
        self._progress.stage(name)

    def advance(self, fraction: float) -> None:
        """Pass on."""
        self._progress.advance(fraction)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Pass on."""
        self._progress.expect(seconds)

    def warning(self, code: str, message: str, hint: str = "") -> None:
        """Remember and pass on, without what could rule a terminal."""
        told = {"code": code, "message": printable(message), "hint": printable(hint)}
        self.warnings.append(told)
        self._progress.warning(**told)

    def take_over(self, other: Recorder) -> None:
        """Tell what was recorded elsewhere, and take over its seconds; the current stage ends uncounted."""
        self._name = None
        for name in other.seconds:
            self._progress.stage(name)
        for warning in other.warnings:
            self.warning(**warning)
        self.seconds.update(other.seconds)

    def stop(self) -> None:
        """End the current stage."""
        if self._name is not None:
            spent = time.perf_counter() - self._since
            self.seconds[self._name] = round(self.seconds.get(self._name, 0.0) + spent, 3)
            self._name = None
