"""A faint surface of the brain around the findings in the 3D views. The heatmap tells where the brain is: 0 outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support

from CondDiffusionUADLib.scene.Nodes import (
    HEATMAP_ROLE,
    ROLE_ATTRIBUTE,
    DetectionNodes,
    matrixOf,
    nodesOf,
    voxels,
    vtkMatrix,
)

OPACITY = 0.15
COLOR = (0.85, 0.8, 0.75)
_COARSE_MM = 2.5  # a surface that is hardly seen needs no finer grid, and is made in a tenth of a second
_SMOOTHING = 1.0  # standard deviation, coarse voxels
_ROLE = "brainSurface"


def showBrain(scene: Any, nodes: DetectionNodes | None, shown: bool) -> None:
    """Show the brain of a detection in the 3D views, or not; those of others are hidden.

    Args:
        scene: The MRML scene.
        nodes: Of the detection, with heatmap voxels; None to hide all.
        shown: Whether to show it; the surface is made when it is needed.
    """
    own = None
    for model in nodesOf(scene, "vtkMRMLModelNode"):
        if model.GetAttribute(ROLE_ATTRIBUTE) != _ROLE:
            continue
        if nodes is not None and model.GetNodeReference(HEATMAP_ROLE) is nodes.heatmap:
            own = model
        elif model.GetDisplayNode() is not None:
            model.GetDisplayNode().SetVisibility(False)
    if own is None and shown and nodes is not None and nodes.hasScores:
        own = _addModel(scene, nodes.heatmap)
    if own is not None and own.GetDisplayNode() is not None:
        own.SetAndObserveTransformNodeID(nodes.heatmap.GetTransformNodeID())
        own.GetDisplayNode().SetVisibility(bool(shown))


def brainSurface(heatmapNode: Any) -> Any:
    """The outer surface of the brain as vtkPolyData, in the coordinates (R, A, S) of the heatmap, mm."""
    matrix = matrixOf(heatmapNode)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    step = np.maximum(1, np.round(_COARSE_MM / spacing)).astype(int)
    inside = voxels(heatmapNode)[:: step[2], :: step[1], :: step[0]] > 0
    inside = np.pad(inside, 2).astype(np.float32)  # so that the surface is closed at the edge of the scan
    image = vtk.vtkImageData()
    image.SetDimensions(inside.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(inside.ravel(), deep=True))
    smooth = vtk.vtkImageGaussianSmooth()
    smooth.SetInputData(image)
    smooth.SetStandardDeviation(_SMOOTHING)
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputConnection(smooth.GetOutputPort())
    contour.SetValue(0, 0.5)
    contour.ComputeScalarsOff()
    largest = vtk.vtkPolyDataConnectivityFilter()  # leaves out what surrounds voxels of score 0 inside of the brain
    largest.SetInputConnection(contour.GetOutputPort())
    largest.SetExtractionModeToLargestRegion()
    toRas = vtk.vtkTransform()
    toRas.SetMatrix(vtkMatrix(matrix @ np.diag([*step, 1.0]) @ _shift(-2.0)))
    transform = vtk.vtkTransformPolyDataFilter()
    transform.SetTransform(toRas)
    transform.SetInputConnection(largest.GetOutputPort())
    transform.Update()
    return transform.GetOutput()


def _shift(voxelsMoved: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = voxelsMoved
    return matrix


def _addModel(scene: Any, heatmapNode: Any) -> Any:
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{heatmapNode.GetName()} brain")
    model.SetAttribute(ROLE_ATTRIBUTE, _ROLE)
    model.SetNodeReferenceID(HEATMAP_ROLE, heatmapNode.GetID())
    model.SetAndObservePolyData(brainSurface(heatmapNode))
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetColor(*COLOR)
    display.SetOpacity(OPACITY)
    display.SetVisibility2D(False)
    return model
