"""The nodes of a detection: how they belong together, how they are found again, and where they lie.

The heatmap refers to the other nodes, and each of them back to it. A heatmap that somebody copied has the references
too, but nothing refers back to it: it is a volume like any other. The scene file keeps the references, and an import
into a scene that has such nodes already keeps them apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

INPUT_ROLE = "CondDiffusionUAD.Input"
HEATMAP_ROLE = "CondDiffusionUAD.Heatmap"
ROLE_ATTRIBUTE = "CondDiffusionUAD.Role"
"""Names what the module made, copies of it included, so that it is not offered as a scan."""

SCAN_CLASSES = (
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLVectorVolumeNode",
    "vtkMRMLMultiVolumeNode",
    "vtkMRMLDiffusionWeightedVolumeNode",
)
"""Of the volumes that are offered; label maps and tensors are not among them."""

# The field of `DetectionNodes`, the role of the heatmap's reference to it, and the class of the node.
_PARTS = (
    ("reconstruction", "CondDiffusionUAD.Reconstruction", "vtkMRMLScalarVolumeNode"),
    ("segmentation", "CondDiffusionUAD.Segmentation", "vtkMRMLSegmentationNode"),
    ("findings", "CondDiffusionUAD.Findings", "vtkMRMLTableNode"),
    ("report", "CondDiffusionUAD.Report", "vtkMRMLTextNode"),
    ("overview", "CondDiffusionUAD.Overview", "vtkMRMLTextNode"),
    ("uncertainty", "CondDiffusionUAD.Uncertainty", "vtkMRMLScalarVolumeNode"),
)


@dataclass(frozen=True)
class DetectionNodes:
    """The nodes of one detection; all but the heatmap are None when they were deleted, or never made."""

    input: Any
    heatmap: Any
    reconstruction: Any
    segmentation: Any
    findings: Any
    report: Any
    overview: Any = None
    uncertainty: Any = None

    @property
    def hasScores(self) -> bool:
        """Whether the heatmap has voxels: it has none when its file was missing as the scene was loaded."""
        image = self.heatmap.GetImageData()
        return image is not None and image.GetPointData().GetScalars() is not None and image.GetNumberOfPoints() > 0


def nodesOf(scene: Any, className: str) -> list[Any]:
    """The nodes of a class and of those derived from it, in the order they came into the scene."""
    return [scene.GetNthNodeByClass(index, className) for index in range(scene.GetNumberOfNodesByClass(className))]


def matrixOf(volumeNode: Any) -> np.ndarray:
    """The matrix (4 x 4) from voxel indices (i, j, k) to patient coordinates (R, A, S), mm."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return np.array(matrix.GetData()).reshape(4, 4)


def vtkMatrix(matrix: np.ndarray) -> Any:
    """A matrix (4 x 4) for VTK."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, float).ravel())
    return result


def voxels(volumeNode: Any) -> np.ndarray:
    """The voxels of a volume node, axes (z, y, x), without copying them."""
    image = volumeNode.GetImageData()
    array = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return array.reshape(tuple(reversed(image.GetDimensions())))


def toWorld(node: Any, ras: tuple[float, float, float]) -> tuple[float, float, float]:
    """Where the views show a place (R, A, S), mm, of a volume: its parent transforms applied."""
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(ras, world)
    return world[0], world[1], world[2]


def linkNodes(nodes: DetectionNodes) -> None:
    """Let the heatmap refer to the other nodes and these to the heatmap, for `findDetections`."""
    nodes.heatmap.SetAttribute(ROLE_ATTRIBUTE, "heatmap")
    nodes.heatmap.SetNodeReferenceID(INPUT_ROLE, nodes.input.GetID() if nodes.input else None)
    for field, role, _class in _PARTS:
        part = getattr(nodes, field)
        nodes.heatmap.SetNodeReferenceID(role, part.GetID() if part else None)
        if part is not None:
            part.SetAttribute(ROLE_ATTRIBUTE, field)
            part.SetNodeReferenceID(HEATMAP_ROLE, nodes.heatmap.GetID())


def findDetections(scene: Any) -> list[DetectionNodes]:
    """The detections in the scene, oldest first; also those of a scene that was saved and loaded again."""
    found = (_detectionOf(node) for node in nodesOf(scene, "vtkMRMLScalarVolumeNode"))
    return [nodes for nodes in found if nodes is not None]


def _detectionOf(heatmap: Any) -> DetectionNodes | None:
    scan = heatmap.GetNodeReference(INPUT_ROLE)
    parts = {field: heatmap.GetNodeReference(role) for field, role, _class in _PARTS}
    for field, _role, className in _PARTS:
        part = parts[field]
        if part is not None and not (part.IsA(className) and part.GetNodeReference(HEATMAP_ROLE) is heatmap):
            parts[field] = None
    if not any(parts.values()):
        return None
    return DetectionNodes(scan if scan is not None and scan.IsA("vtkMRMLScalarVolumeNode") else None, heatmap, **parts)


def isResult(volumeNode: Any) -> bool:
    """Whether a volume came out of a detection, or is a copy of one that did, so that it is not examined itself."""
    return bool(volumeNode.GetAttribute(ROLE_ATTRIBUTE))


def canBeScan(volumeNode: Any) -> bool:
    """Whether a volume may be a scan: a plain one, with gray values, that the module did not make."""
    return volumeNode.GetClassName() == SCAN_CLASSES[0] and not isResult(volumeNode)


def isOffered(volumeNode: Any) -> bool:
    """Whether a volume is offered: it may be a scan, or hold several images, or its user has to be told why not."""
    return volumeNode.GetClassName() in SCAN_CLASSES and not isResult(volumeNode)


def notScans(scene: Any) -> list[str]:
    """The IDs of the volumes that are not to be offered as scans; the rest of the scene's volumes are."""
    return [node.GetID() for node in nodesOf(scene, "vtkMRMLVolumeNode") if not isOffered(node)]


def resultName(scene: Any, scanName: str) -> str:
    """How the next result of a scan is called, so that the names of its nodes tell the results apart."""
    names = {nodes.heatmap.GetName() for nodes in findDetections(scene)}
    numbered = (scanName if number == 1 else f"{scanName} ({number})" for number in range(1, len(names) + 2))
    return next(name for name in numbered if heatmapName(name) not in names)


def heatmapName(name: str) -> str:
    """The name of the heatmap of a result with this name (`resultName`)."""
    return f"{name} anomaly score"


def resultTitle(nodes: DetectionNodes) -> str:
    """What a list of results calls this one: what tells it apart comes first, for the end may be cut off."""
    name = nodes.heatmap.GetName() or ""
    name = name.removesuffix(heatmapName("")) or name
    try:
        report = json.loads(nodes.report.GetText()) if nodes.report is not None else {}
        facts = [str(report["parameters"]["contrast"]), str(report["bundle"]["name"])]
        facts.append("" if len(report["parameters"]["levels"]) != 1 else "fast")
    except (ValueError, KeyError, TypeError, RecursionError):
        return name
    return f"{name} ({', '.join(fact[:40] for fact in facts if fact)})"


def placeProblem(nodes: DetectionNodes) -> str:
    """Code of why the result does not lie on its scan any more ("moved", "regridded"); empty when it does."""
    if nodes.input is None or nodes.input.GetImageData() is None or not nodes.hasScores:
        return ""
    if nodes.input.GetImageData().GetDimensions() != nodes.heatmap.GetImageData().GetDimensions():
        return "regridded"
    size = nodes.heatmap.GetImageData().GetDimensions()
    corners = [(x, y, z, 1.0) for x in (0, size[0] - 1) for y in (0, size[1] - 1) for z in (0, size[2] - 1)]
    for corner in corners:
        theirs, ours = (toWorld(node, tuple((matrixOf(node) @ corner)[:3])) for node in (nodes.input, nodes.heatmap))
        if np.linalg.norm(np.subtract(theirs, ours)) > 0.5 * min(nodes.heatmap.GetSpacing()):
            return "moved"
    return ""


def canFollow(nodes: DetectionNodes) -> bool:
    """Whether the scan was moved by a transform alone, so that `followScan` brings the results to it."""
    return placeProblem(nodes) == "moved" and np.allclose(matrixOf(nodes.input), matrixOf(nodes.heatmap), atol=1e-6)


def followScan(nodes: DetectionNodes) -> None:
    """Bring the results to where the scan is now: under the same transform."""
    for node in (nodes.heatmap, nodes.reconstruction, nodes.segmentation, nodes.uncertainty):
        if node is not None:
            node.SetAndObserveTransformNodeID(nodes.input.GetTransformNodeID())


@contextmanager
def batch(scene: Any) -> Iterator[None]:
    """Let views and lists wait until all changes of the block are made."""
    scene.StartState(scene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(scene.BatchProcessState)


def createResultFolder(scene: Any, inputNode: Any, name: str) -> int:
    """A new folder beside the input, hence in its study if it has one; returns the item's ID."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = hierarchy.GetItemParent(itemOf(hierarchy, inputNode))
    return hierarchy.CreateFolderItem(parent, name)


def putIntoFolder(scene: Any, folderItem: int, node: Any) -> None:
    """Move a node into the folder."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.SetItemParent(itemOf(hierarchy, node), folderItem)


def putBeside(scene: Any, node: Any, other: Any) -> None:
    """Move a node into the folder in which another one lies."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    putIntoFolder(scene, hierarchy.GetItemParent(itemOf(hierarchy, other)), node)


def nameDicomSource(scene: Any, segmentationNode: Any, inputNode: Any) -> None:
    """Tell Slicer's DICOM SEG export which DICOM images the segmentation refers to, if the input came from DICOM."""
    if instances := inputNode.GetAttribute("DICOM.instanceUIDs"):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        hierarchy.SetItemAttribute(itemOf(hierarchy, segmentationNode), "DICOM.ReferencedInstanceUIDs", instances)


def itemOf(hierarchy: Any, node: Any) -> int:
    """The item of a node. Slicer makes one for every node; outside of the application that is left to us."""
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return item
