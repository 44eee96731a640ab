"""What a check of cases reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case


@dataclass(frozen=True)
class Problem:
    """Why a file cannot be used, or what should be known about it.

    Attributes:
        file: Which.
        message: One sentence.
        hint: What to do about it; may be empty.
        fatal: Whether its cases cannot be judged; otherwise this is a note.
        cases: Which cases it concerns.
    """

    file: Path
    message: str
    hint: str = ""
    fatal: bool = True
    cases: tuple[Case, ...] = ()
