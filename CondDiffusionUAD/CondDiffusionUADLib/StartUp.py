"""What happens once when Slicer has started: quick things only, and nothing is installed."""

from __future__ import annotations

from contextlib import suppress

import slicer

from CondDiffusionUADLib.run.PrivateFolder import sweep
from CondDiffusionUADLib.scene.CandidateSegmentation import loadTerminology
from CondDiffusionUADLib.scene.SampleData import registerSampleData


def afterStartUp() -> None:
    """Make sample data and terminology known; remove the temporary files of a Slicer that crashed."""
    with suppress(ImportError):  # the Sample Data module may be switched off
        registerSampleData()
    loadTerminology(slicer.modules.terminologies.logic())
    sweep(slicer.app.temporaryPath)
