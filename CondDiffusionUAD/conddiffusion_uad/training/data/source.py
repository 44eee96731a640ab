"""Where training data come from: a table ``[[source]]`` of a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.table import Table

KINDS = ("labels", "scans")


@dataclass(frozen=True)
class Source(Table):
    """Where training data come from.

    Attributes:
        kind: "labels" (FreeSurfer label maps of healthy heads) or "scans" (volumes of healthy heads; thin ones, see
            :func:`preparation.prepare`, have to be in the atlas' space already).
        files: Pattern below the data folder.
        weight: Share of the samples, relative to the other sources; with 0 all of it is held out.
        held_out: How many subjects are kept for validation and calibration and never trained on; below 1, their share.
        contrast: Of scans.
        test: The same for those that nothing here looks at.
        shuffle: Whether to choose those by a hash of the subjects' names rather than to take the last ones.
    """

    kind: str
    files: str
    weight: float
    held_out: float
    contrast: str = ""
    test: float = 0
    shuffle: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        accepted = CONTRASTS if self.kind == "scans" else ("",)
        if self.contrast not in accepted:
            raise ValueError(f"contrast of {self.kind} is {' or '.join(accepted) or 'not given: they can show any'}")
        if not 0 <= self.weight < math.inf:
            raise ValueError("weight is at least 0")
        for name in ("held_out", "test"):
            value = getattr(self, name)
            if not 0 <= value < math.inf or (value >= 1 and value != int(value)):
                raise ValueError(f"{name} is a share below 1, or a whole number")
