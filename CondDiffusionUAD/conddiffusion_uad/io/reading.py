"""How a scan is to be read: what was chosen among several, what is accepted, and who is told of what was assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conddiffusion_uad.protocol.failures import BadInput

Warn = Callable[[str, str, str], None]
"""Is told a code, a sentence and a hint, as `Progress.warning` is."""

ANYWAY = "--accept-any-scan"


def silent(code: str, message: str, hint: str = "") -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Reading:
    """How a scan is to be read.

    Attributes:
        series: Which of several DICOM series: its number, UID or description; None when there is one.
        echo: Which of several stacks in a series (echo, frame type, repetition): its number in the list that the
            refusal shows; None when there is one.
        thin: Whether a file may hold only a few slices, as `preparation.prepare` accepts them.
        anything: Whether it need not be a scan, but may be labels, of any size.
        accept: Whether to go on with what is only doubtful, on an assumption that is told.
        warn: Is told what was assumed, and what contradicts itself.
    """

    series: str | None = None
    echo: str | None = None
    thin: bool = False
    anything: bool = False
    accept: bool = False
    warn: Warn = silent

    def require_no_choice(self, name: str) -> None:
        """Raise BadInput("bad_option") when something was chosen in a file that is not DICOM and holds one scan."""
        for option, given in (("--series", self.series), ("--echo", self.echo)):
            if given is not None:
                message = f"{option} chooses among DICOM images, and {name} is not DICOM."
                raise BadInput("bad_option", message, f"Leave {option} out, or choose the DICOM folder.")

    def doubt(self, code: str, message: str, cure: str, assumed: str) -> None:
        """Refuse what is doubtful, or tell what is assumed when it was accepted.

        Args:
            code: Of the failure or the warning.
            message: One sentence: what is wrong.
            cure: One sentence: what to do about it.
            assumed: What is assumed when one goes on nevertheless; follows "Then ".

        Raises:
            BadInput: Unless doubtful scans are accepted.
        """
        if not self.accept:
            raise BadInput(code, message, f"{cure} Or go on with {ANYWAY}: then {assumed}.")
        self.warn(code, message, f"{assumed[:1].upper()}{assumed[1:]}.")
