"""What happens once when Slicer has started: quick things only, and nothing is installed."""

from __future__ import annotations

from contextlib import suppress

import slicer

from CondDiffusionUADLib.run import Resume
from CondDiffusionUADLib.scene.CandidateSegmentation import loadTerminology
from CondDiffusionUADLib.scene.SampleData import registerSampleData


def afterStartUp() -> None:
    """Make sample data and terminology known; open the panel when a restart interrupted a click."""
    with suppress(ImportError):  # the Sample Data module may be switched off
        registerSampleData()
    loadTerminology(slicer.modules.terminologies.logic())
    if Resume.isPending(slicer.app.userSettings()) and slicer.util.mainWindow() is not None:
        slicer.util.selectModule("CondDiffusionUAD")
