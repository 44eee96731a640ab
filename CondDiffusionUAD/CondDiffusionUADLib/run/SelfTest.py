"""What "Reload and Test" tries in the running application: the shipped scan, from the disk to its results."""

from __future__ import annotations

from typing import Any

import slicer

from CondDiffusionUADLib.run.Bundles import FAST
from CondDiffusionUADLib.run.Paths import resource
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.scene.Nodes import findDetections

_NOT_INSTALLED = ("not_installed", "torch_missing", "package_missing")


def selfTest(logic: Any) -> None:
    """Detect anomalies in the shipped scan; where the packages are not installed, that has to be said.

    Args:
        logic: The module's logic.

    Raises:
        AssertionError: Something does not work.
    """
    scan = slicer.util.loadVolume(str(resource("SampleData/synthetic_T2_brain.nii.gz")), {"name": "Synthetic_T2_brain"})
    nodesBefore = slicer.mrmlScene.GetNumberOfNodes()
    try:
        nodes = logic.detect(scan, quality=FAST)
    except ProblemError as error:
        assert error.problem.code in _NOT_INSTALLED, error.problem.text
        assert slicer.mrmlScene.GetNumberOfNodes() == nodesBefore, "a failed run has to leave the scene alone"
        return
    assert findDetections(slicer.mrmlScene) == [nodes]
    assert nodes.findings.GetNumberOfRows() > 0, "the lesion of the synthetic scan was not found"
