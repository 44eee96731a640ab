"""Brings the results of a detection into the scene: all of them on the grid and in the place of the input, or none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.protocol.failures import RESEARCH_USE
from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, ResultVolumes, UnreadableVolumeError, readResults
from CondDiffusionUADLib.scene.CandidateSegmentation import createSegmentation
from CondDiffusionUADLib.scene.Colors import addLegend, showColored
from CondDiffusionUADLib.scene.Decisions import ALGORITHM_ATTRIBUTE, Decisions
from CondDiffusionUADLib.scene.Findings import FindingsModel
from CondDiffusionUADLib.scene.Heatmap import SCORE, SCORE_RANGE
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import (
    DetectionNodes,
    batch,
    createResultFolder,
    heatmapName,
    linkNodes,
    matrixOf,
    nameDicomSource,
    putIntoFolder,
    resultName,
    voxels,
)
from CondDiffusionUADLib.scene.Uncertainty import LEAST_SHOWN, UNCERTAINTY
from CondDiffusionUADLib.scene.Views import showOnly
from CondDiffusionUADLib.scene.ViewsState import copyWindow

GRID_TOLERANCE = 0.05  # of the smallest voxel spacing: well above what NIfTI's float32 header rounds away


class SceneError(ValueError):
    """The results do not fit the scene."""


@dataclass(frozen=True)
class Logics:
    """The logics of Slicer's modules that building the nodes takes: ``slicer.modules.<name>.logic()`` each."""

    colors: Any
    volumes: Any
    segmentations: Any


def addDetection(
    scene: Any, logics: Logics, inputNode: Any, output: DetectionOutput, volumes: ResultVolumes | None = None
) -> DetectionNodes:
    """Add the results of a detection, in one folder: heatmap, segmentation, reconstruction, findings and report, and
    the uncertainty if there is one.

    The nodes get the exact geometry and the parent transform of the input. They are not bound to the files they were
    read from, so that Slicer saves them and the files may go.

    Args:
        scene: The MRML scene.
        logics: Of Slicer's modules.
        inputNode: The volume that was examined.
        output: The results.
        volumes: Their volumes if they have been read already; else they are read here.

    Raises:
        SceneError: A file cannot be read, or does not have the grid of the input. The scene is then as it was.
    """
    try:
        volumes = volumes or readResults(output, inputNode)
    except UnreadableVolumeError as error:
        raise SceneError(str(error)) from error
    for node in volumes.nodes:
        _takeGrid(node, inputNode)
    with _allOrNothing(scene):
        nodes = _addNodes(scene, logics, inputNode, output, volumes)
        decisions = Decisions(volumes.components)
        model = FindingsModel(volumes.components, matrixOf(nodes.heatmap), decisions, voxels(nodes.heatmap))
        LiveFindings(logics.segmentations, nodes, model).show(max(output.threshold, SCORE_RANGE[0]), output.minVolumeMl)
        addLegend(logics.colors, nodes.heatmap, SCORE)
        if nodes.uncertainty is not None:
            addLegend(logics.colors, nodes.uncertainty, UNCERTAINTY)
        showOnly(scene, nodes)
        name = nodes.heatmap.GetName().removesuffix(heatmapName(""))
        folder = createResultFolder(scene, inputNode, f"{name} anomalies")
        results = (
            nodes.heatmap,
            nodes.segmentation,
            nodes.reconstruction,
            nodes.uncertainty,
            nodes.findings,
            nodes.report,
            nodes.overview,
        )
        for node in results:
            if node is not None:
                putIntoFolder(scene, folder, node)
        nameDicomSource(scene, nodes.segmentation, inputNode)
    return nodes


def _addNodes(
    scene: Any, logics: Logics, inputNode: Any, output: DetectionOutput, volumes: ResultVolumes
) -> DetectionNodes:
    name = resultName(scene, inputNode.GetName() or "scan")
    heatmap = _addVolume(scene, volumes.heatmap, inputNode, heatmapName(name))
    showColored(scene, heatmap, SCORE, output.threshold)
    heatmap.SetAttribute(ALGORITHM_ATTRIBUTE, f"CondDiffusionUAD {output.version} ({output.bundle})")
    heatmap.SetDescription(f"Anomaly score, -log10(p) of healthy tissue. {RESEARCH_USE}.")
    reconstruction = _addVolume(scene, volumes.reconstruction, inputNode, f"{name} reconstruction")
    reconstruction.SetDescription(f"The scan as a model of healthy brains would draw it. {RESEARCH_USE}.")
    copyWindow(inputNode, reconstruction)
    uncertainty = _addUncertainty(scene, volumes.uncertainty, inputNode, f"{name} uncertainty")
    segmentation = createSegmentation(scene, inputNode, heatmap, f"{name} candidate anomalies")
    segmentation.SetDescription(f"Candidate anomalies, unconfirmed. {RESEARCH_USE}.")
    findings = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} findings")
    report = scene.AddNewNodeByClass("vtkMRMLTextNode", f"{name} report")
    report.SetText(output.report)
    overview = addOverview(scene, output.overview, f"{name} overview")
    nodes = DetectionNodes(inputNode, heatmap, reconstruction, segmentation, findings, report, overview, uncertainty)
    linkNodes(nodes)
    return nodes


def _addUncertainty(scene: Any, volume: Any, inputNode: Any, name: str) -> Any:
    if volume is None:
        return None
    node = _addVolume(scene, volume, inputNode, name)
    showColored(scene, node, UNCERTAINTY, LEAST_SHOWN)
    node.SetDescription(
        f"Standard error of the anomaly score, from how far samples of the reconstruction disagree. {RESEARCH_USE}."
    )
    return node


@contextmanager
def _allOrNothing(scene: Any) -> Iterator[None]:
    """Take out again what was added to the scene when the block fails."""
    before = {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
    with batch(scene):
        try:
            yield
        except BaseException:
            added = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
            for node in added:
                if node.GetID() not in before:
                    scene.RemoveNode(node)
            raise


def _addVolume(scene: Any, node: Any, inputNode: Any, name: str) -> Any:
    node.SetName(scene.GetUniqueNameByString(name))
    scene.AddNode(node)
    # Not CreateDefaultDisplayNodes: it would look at all voxels for a window that is set right afterwards.
    display = scene.CreateNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.UnRegister(None)
    display.AutoWindowLevelOff()
    scene.AddNode(display)
    display.SetDefaultColorMap()
    node.SetAndObserveDisplayNodeID(display.GetID())
    node.SetAndObserveTransformNodeID(inputNode.GetTransformNodeID())
    return node


def _takeGrid(node: Any, inputNode: Any) -> None:
    """Give a volume exactly the grid of the input. Raises SceneError unless it has it already, but for rounding."""
    size = inputNode.GetImageData().GetDimensions()
    corners = np.array([(x, y, z, 1.0) for x in (0, size[0] - 1) for y in (0, size[1] - 1) for z in (0, size[2] - 1)])
    away = np.linalg.norm((matrixOf(inputNode) - matrixOf(node)) @ corners.T, axis=0).max()
    if node.GetImageData().GetDimensions() != size or away > GRID_TOLERANCE * min(inputNode.GetSpacing()):
        raise SceneError(f"The results do not lie on the grid of {inputNode.GetName()}.")
    node.CopyOrientation(inputNode)


MOST_BYTES = 16 << 20  # the pages take 1 MB; a scene may come from anybody
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def addOverview(scene: Any, path: Path, name: str) -> Any:
    """A text node with a page (PNG) from a file; None when the file is missing, too large or no PNG."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError:
        return None
    if not data.startswith(_SIGNATURE):
        return None
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
    node.SetText(base64.b64encode(data).decode("ascii"))
    node.SetDescription("A picture (PNG) as base64 text.")
    return node


def overviewOf(node: Any) -> bytes | None:
    """The page (PNG) that a text node holds; None when it holds something else."""
    text = node.GetText() if node is not None else None
    if not text or len(text) > 2 * MOST_BYTES:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if data.startswith(_SIGNATURE) else None
