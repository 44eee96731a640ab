"""The standard code of a candidate anomaly, and the file that makes Slicer's terminology selector know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from CondDiffusionUADLib.run.Paths import resource

CONTEXT_NAME = "Segmentation category and type - CondDiffusionUAD"

# Slicer's serialized form: context~category~type~type modifier~region context~region~region modifier. The meaning is
# "suspected lesion, in the brain": SNOMED CT has no code for an anomaly that nobody has judged yet.
CANDIDATE_ANOMALY = "~".join(
    (
        CONTEXT_NAME,
        "SCT^49755003^Morphologically Altered Structure",
        "SCT^52988006^Lesion",
        "SCT^415684004^Suspected",
        "Anatomic codes - DICOM master list",
        "SCT^12738006^Brain",
        "^^",
    )
)


def terminologyFile() -> Path:
    """The shipped terminology.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    return resource("Terminologies/CondDiffusionUAD.term.json")


def loadTerminology(terminologiesLogic: Any) -> None:
    """Make the shipped terminology selectable, if it is not yet."""
    if not terminologiesLogic.IsTerminologyContextLoaded(CONTEXT_NAME):
        terminologiesLogic.LoadTerminologyFromFile(str(terminologyFile()))
