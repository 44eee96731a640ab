"""The nodes of a detection, and how they are found again in a scene that was saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INPUT_ROLE = "CondDiffusionUAD.Input"
RECONSTRUCTION_ROLE = "CondDiffusionUAD.Reconstruction"
SEGMENTATION_ROLE = "CondDiffusionUAD.Segmentation"
FINDINGS_ROLE = "CondDiffusionUAD.Findings"
REPORT_ROLE = "CondDiffusionUAD.Report"


@dataclass(frozen=True)
class DetectionNodes:
    """The nodes of one detection; `input`, `reconstruction` and `report` are None when they were deleted."""

    input: Any
    heatmap: Any
    reconstruction: Any
    segmentation: Any
    findings: Any
    report: Any


def linkNodes(nodes: DetectionNodes) -> None:
    """Let the heatmap refer to the other nodes, for `findDetections`; the scene file keeps the references."""
    references = {
        INPUT_ROLE: nodes.input,
        RECONSTRUCTION_ROLE: nodes.reconstruction,
        SEGMENTATION_ROLE: nodes.segmentation,
        FINDINGS_ROLE: nodes.findings,
        REPORT_ROLE: nodes.report,
    }
    for role, node in references.items():
        nodes.heatmap.SetNodeReferenceID(role, node.GetID())


def findDetections(scene: Any) -> list[DetectionNodes]:
    """The detections in the scene, oldest first; also those of a scene that was saved and loaded again."""
    found = []
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        heatmap = scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
        nodes = DetectionNodes(
            heatmap.GetNodeReference(INPUT_ROLE),
            heatmap,
            heatmap.GetNodeReference(RECONSTRUCTION_ROLE),
            heatmap.GetNodeReference(SEGMENTATION_ROLE),
            heatmap.GetNodeReference(FINDINGS_ROLE),
            heatmap.GetNodeReference(REPORT_ROLE),
        )
        if nodes.segmentation and nodes.findings:
            found.append(nodes)
    return found


def isResult(volumeNode: Any) -> bool:
    """Whether a volume came out of a detection, so that it is not examined itself."""
    if volumeNode.GetNodeReferenceID(SEGMENTATION_ROLE):
        return True
    scene = volumeNode.GetScene()
    return any(nodes.reconstruction is volumeNode for nodes in findDetections(scene)) if scene else False
