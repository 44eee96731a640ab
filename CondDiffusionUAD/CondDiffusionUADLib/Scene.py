"""Brings the results of a detection into the scene: all of them on the grid and in the place of the input, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support

from conddiffusion_uad.protocol import RESEARCH_USE
from CondDiffusionUADLib.CandidateSegmentation import createCandidateSegmentation, setCandidateVoxels
from CondDiffusionUADLib.DetectionOutput import DetectionOutput
from CondDiffusionUADLib.FindingsTable import createFindingsTable
from CondDiffusionUADLib.HeatmapDisplay import addLegend, showAsHeatmap
from CondDiffusionUADLib.SubjectHierarchy import createResultFolder, putIntoFolder

INPUT_ROLE = "CondDiffusionUAD.Input"
RECONSTRUCTION_ROLE = "CondDiffusionUAD.Reconstruction"
SEGMENTATION_ROLE = "CondDiffusionUAD.Segmentation"
FINDINGS_ROLE = "CondDiffusionUAD.Findings"

GRID_TOLERANCE = 0.05  # of the smallest voxel spacing: well above what NIfTI's float32 header rounds away


class SceneError(ValueError):
    """The results do not fit the scene."""


@dataclass(frozen=True)
class Logics:
    """The logics of Slicer's modules that building the nodes takes: ``slicer.modules.<name>.logic()`` each."""

    colors: Any
    volumes: Any
    segmentations: Any


@dataclass(frozen=True)
class DetectionNodes:
    """The nodes of one detection; `input` is None when it was deleted."""

    input: Any
    heatmap: Any
    reconstruction: Any
    segmentation: Any
    findings: Any


def addDetection(scene: Any, logics: Logics, inputNode: Any, output: DetectionOutput) -> DetectionNodes:
    """Load the results of a detection: heatmap, segmentation, reconstruction and findings, in one folder.

    The nodes get the exact geometry and the parent transform of the input. They are not bound to the files they were
    read from, so that Slicer saves them and the files may go.

    Raises:
        SceneError: A file cannot be read, or does not have the grid of the input. The scene is then as it was.
    """
    name = inputNode.GetName()
    with _allOrNothing(scene):
        heatmap = _loadVolume(scene, logics, output.heatmap, inputNode, f"{name} anomaly score")
        showAsHeatmap(scene, heatmap, output.threshold)
        heatmap.SetDescription(f"Anomaly score, -log10(p) of healthy tissue. {RESEARCH_USE}.")
        reconstruction = _loadVolume(scene, logics, output.reconstruction, inputNode, f"{name} reconstruction")
        _copyWindowLevel(inputNode, reconstruction)
        segmentation = _loadSegmentation(scene, logics, output, inputNode, f"{name} candidate anomalies")
        findings = createFindingsTable(scene, output.findings, f"{name} findings")
        nodes = DetectionNodes(inputNode, heatmap, reconstruction, segmentation, findings)
        _linkNodes(nodes)
        addLegend(logics.colors, heatmap)
        folder = createResultFolder(scene, inputNode, f"{name} anomalies")
        for node in (heatmap, segmentation, reconstruction, findings):
            putIntoFolder(scene, folder, node)
    return nodes


def findDetections(scene: Any) -> list[DetectionNodes]:
    """The detections in the scene, oldest first; also those of a scene that was saved and loaded again."""
    volumes = (
        scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))
    )
    roles = (INPUT_ROLE, RECONSTRUCTION_ROLE, SEGMENTATION_ROLE, FINDINGS_ROLE)
    found = []
    for volume in volumes:
        source, *results = (volume.GetNodeReference(role) for role in roles)
        if all(results):
            found.append(DetectionNodes(source, volume, *results))
    return found


def voxels(volumeNode: Any) -> np.ndarray:
    """The voxels of a volume node, axes (z, y, x), without copying them."""
    image = volumeNode.GetImageData()
    array = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return array.reshape(tuple(reversed(image.GetDimensions())))


@contextmanager
def _allOrNothing(scene: Any) -> Iterator[None]:
    """Take out again what was added to the scene when the block fails."""
    before = {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
    scene.StartState(scene.BatchProcessState)
    try:
        yield
    except BaseException:
        added = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        for node in added:
            if node.GetID() not in before:
                scene.RemoveNode(node)
        raise
    finally:
        scene.EndState(scene.BatchProcessState)


def _loadVolume(scene: Any, logics: Logics, path: Path, inputNode: Any, name: str, *, labels: bool = False) -> Any:
    """A volume node from a file that has the grid of the input, in the place of the input."""
    node = logics.volumes.AddArchetypeVolume(str(path), name, int(labels))
    if node is None:
        raise SceneError(f"{path} cannot be read as a volume.")
    # Bound to a temporary file, Slicer would take the node for saved.
    if node.GetStorageNode():
        scene.RemoveNode(node.GetStorageNode())
    _takeGrid(node, inputNode)
    node.SetAndObserveTransformNodeID(inputNode.GetTransformNodeID())
    return node


def _takeGrid(node: Any, inputNode: Any) -> None:
    """Give a volume exactly the grid of the input. Raises SceneError unless it has it already, but for rounding."""
    size = inputNode.GetImageData().GetDimensions()
    theirs, ours = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    inputNode.GetIJKToRASMatrix(theirs)
    node.GetIJKToRASMatrix(ours)
    corners = [(x, y, z, 1.0) for x in (0, size[0] - 1) for y in (0, size[1] - 1) for z in (0, size[2] - 1)]
    away = max(
        np.linalg.norm(np.subtract(theirs.MultiplyPoint(corner), ours.MultiplyPoint(corner))) for corner in corners
    )
    if node.GetImageData().GetDimensions() != size or away > GRID_TOLERANCE * min(inputNode.GetSpacing()):
        raise SceneError(f"{node.GetName()} does not lie on the grid of {inputNode.GetName()}.")
    node.CopyOrientation(inputNode)


def _loadSegmentation(scene: Any, logics: Logics, output: DetectionOutput, inputNode: Any, name: str) -> Any:
    labels = _loadVolume(scene, logics, output.segmentation, inputNode, name, labels=True)
    algorithm = f"CondDiffusionUAD {output.version} ({output.bundle})"
    segmentation = createCandidateSegmentation(scene, inputNode, name, algorithm)
    segmentation.SetAndObserveTransformNodeID(inputNode.GetTransformNodeID())
    segmentation.SetDescription(f"Candidate anomalies, unconfirmed. {RESEARCH_USE}.")
    setCandidateVoxels(logics.segmentations, segmentation, inputNode, voxels(labels))
    scene.RemoveNode(labels)
    return segmentation


def _copyWindowLevel(inputNode: Any, reconstruction: Any) -> None:
    """Show the reconstruction as bright as the input, so that the eye compares tissue and not window settings."""
    source, target = inputNode.GetDisplayNode(), reconstruction.GetDisplayNode()
    if source:
        target.AutoWindowLevelOff()
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())


def _linkNodes(nodes: DetectionNodes) -> None:
    """Let the heatmap refer to the other nodes, for `findDetections`; the scene file keeps the references."""
    references = {
        INPUT_ROLE: nodes.input,
        RECONSTRUCTION_ROLE: nodes.reconstruction,
        SEGMENTATION_ROLE: nodes.segmentation,
        FINDINGS_ROLE: nodes.findings,
    }
    for role, node in references.items():
        nodes.heatmap.SetNodeReferenceID(role, node.GetID())
