"""IXI (brain-development.org): healthy adults, ``IXI002-Guys-0828-T1.nii.gz``, a tar file for each contrast."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.datasets.layout import Layout, holds

_SCAN = re.compile(r"(?P<patient>IXI\d+)-\w+-\d+-(?P<contrast>T1|T2)\.nii(\.gz)?")


def _matches(folder: Path) -> bool:
    return holds(folder, "IXI*-T[12].nii*", "IXI-T[12]/IXI*-T[12].nii*")


def _cases(folder: Path) -> Iterator[Case]:
    for file in sorted(folder.glob("**/IXI*-T[12].nii*")):
        if named := _SCAN.fullmatch(file.name):
            yield Case(named["patient"], "IXI", named["contrast"], file)


LAYOUT = Layout("ixi", _matches, _cases)
