"""Remembers what a run tells."""

from __future__ import annotations

from typing import Any


class RunListener:
    """A listener of a detection run.

    Attributes:
        stages: Their names in order.
        fractions: The progress in order.
        lines: What was logged.
        outcome: How it ended; None before.
    """

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.fractions: list[float] = []
        self.lines: list[str] = []
        self.outcome: Any = None

    def onStage(self, name: str) -> None:  # noqa: N802 (the module's name)
        """Remember."""
        self.stages.append(name)

    def onProgress(self, fraction: float, secondsLeft: float | None) -> None:  # noqa: N802, N803 (the module's names)
        """Remember."""
        self.fractions.append(fraction)

    def onLog(self, line: str) -> None:  # noqa: N802 (the module's name)
        """Remember."""
        self.lines.append(line)

    def onFinished(self, outcome: Any) -> None:  # noqa: N802 (the module's name)
        """Remember; a run ends once."""
        assert self.outcome is None
        self.outcome = outcome
