"""Write docs/SCANS.md: what is read, told, refused and assumed, from the cases that the tests go through.

    PYTHONPATH=CondDiffusionUAD:Testing/helpers python Testing/studies/scans_document.py docs/SCANS.md

Every sentence in the table is what the program says; a test fails when the document is not what this script writes.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import groupby
from pathlib import Path

from stored_scans import ASKED, CASES, REFUSED, Stored

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

BEGIN = """# Scans: what is read, told, refused and assumed

Written by `Testing/studies/scans_document.py` from the cases in `Testing/helpers/stored_scans`, each of which is a
test: a scan that is read has to have every voxel at its place and with its value, and a refusal the words that
stand here. Research use only, not a medical device.

- **Formats**: NIfTI-1 and -2 in one file or two, Analyze 7.5, NRRD, MetaImage, and DICOM: a folder (with folders in
  it), or one file of many images. A file is known by its content; its name only helps where that says nothing.
- **Where a NIfTI scan lies** is decided as in nibabel, FSL and SPM: the sform where its code is above 0, else the
  qform where its code is, else it is not known. The result files repeat the header's own words, so that every
  program lays them onto the scan, whatever it makes of these words.
- **Where a DICOM scan lies** is checked in three dimensions: every image's position, orientation, pixel size and
  frame of reference. Images are ordered by position alone, and each is scaled by its own slope and intercept. Images
  that are evenly shifted within their plane (a tilted gantry) are shifted back, each by itself, and the results lie on
  that grid. Tiles of one picture (mosaics) are refused: functional and diffusion scans are stored so, and none of them
  can be examined.
- **Images that seem to be missing** are told, where a number or a distance tells (`InstanceNumber`,
  `SpacingBetweenSlices`, `ImagesInAcquisition`, `InConcatenationTotalNumber`), and refused where the distances show it.
- **What is doubtful** (no orientation, sizes or sides that contradict each other, label maps) is refused with the
  reason, and with what `--accept-any-scan` would assume. With that option it is examined, and the assumption is a
  warning.
- **What can be chosen** is listed: `--series` for one of several series of a folder (number, description or UID),
  `--echo` for one of several stacks in a series (echo, frame type, repetition, plane); both are refused for a scan that
  is not DICOM. Slicer's panel asks the same of a volume that holds several stacks, of the frames of a sequence and of
  the values of a vector or multi-volume, makes the chosen image a volume of its own, and tells when a NIfTI file holds
  more than the one image that Slicer loads.
- **Intensities** may be shifted, scaled, z-scored or padded: the background is found whatever its value, and
  brought to 0 before anything else is done. The same scan with its values changed linearly (and increasing) gives
  the same findings.
- **The contrast** is read from the tags (contrast agent, kind of image, inversion and echo time; of NIfTI, from the
  JSON file beside it), then from the description, then from the name. What is not T1, T2 or FLAIR without contrast
  agent is never taken for one of them: it is asked for with `--contrast`, with the reason.

"""


def document() -> str:
    """The text of docs/SCANS.md."""
    parts = [BEGIN.rstrip()]
    for group, cases in groupby(sorted(CASES, key=_group), key=_group):
        rows = [f"| {_cell(case.way)} | {case.outcome} | {_cell(_said(case))} |" for case in cases]
        parts.append(
            "\n".join([f"\n## {group}\n", "| the scan is stored | it is | what is said |", "|---|---|---|", *rows])
        )
    return "\n".join(parts) + "\n"


def _group(case: Stored) -> str:
    return case.group


def _said(case: Stored) -> str:
    """What the program says about a case."""
    told: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "study").mkdir()
        path = case.make(Path(folder) / "study")
        try:
            volume.read(path, Reading(warn=lambda code, message, hint: told.append(f"{message} {hint}".strip())))
        except BadInput as failure:
            assert case.outcome in (REFUSED, ASKED), case
            told.append(f"{failure.message} {failure.hint}")
        return " ".join(told).replace(str(Path(folder)), "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("*", "\\*")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
