"""A faint surface of the brain in the 3D views, so that findings there have a place."""

from __future__ import annotations

from collections.abc import Iterator
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
    putBeside,
    voxels,
    vtkMatrix,
)

OPACITY = 0.15
COLOR = (0.85, 0.8, 0.78)
MOST_SAMPLES = 72  # along each axis: a faint surface needs no more, and takes some hundredths of a second
SMOOTHING_SAMPLES, SMOOTHING_STEPS = 1.2, 20  # closes the sulci
_ROLE = "brainSurface"


def brainSurfaceOf(nodes: DetectionNodes) -> Any:
    """The surface of a detection's brain, or None."""
    models = nodesOf(nodes.heatmap.GetScene(), "vtkMRMLModelNode")
    ours = (model for model in models if model.GetAttribute(ROLE_ATTRIBUTE) == _ROLE)
    return next((model for model in ours if model.GetNodeReference(HEATMAP_ROLE) is nodes.heatmap), None)


def showingBrainSteps(nodes: DetectionNodes) -> Iterator[None]:
    """Show the surface of the brain in the 3D views, made on first use, in small steps."""
    model = brainSurfaceOf(nodes)
    if model is None:
        inside = _inside(nodes.heatmap)
        yield
        surface = _surface(*inside)
        yield
        scene = nodes.heatmap.GetScene()
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{nodes.heatmap.GetName()} brain")
        model.SetAttribute(ROLE_ATTRIBUTE, _ROLE)
        model.SetNodeReferenceID(HEATMAP_ROLE, nodes.heatmap.GetID())
        model.SetSaveWithScene(False)  # it is made again in no time
        model.SetSelectable(False)
        model.SetAndObservePolyData(surface)
        model.CreateDefaultDisplayNodes()
        display = model.GetDisplayNode()
        display.SetOpacity(OPACITY)
        display.SetColor(*COLOR)
        display.SetBackfaceCulling(True)
        display.SetScalarVisibility(False)
        display.SetSaveWithScene(False)
        putBeside(scene, model, nodes.heatmap)
    model.SetAndObserveTransformNodeID(nodes.heatmap.GetTransformNodeID())
    model.GetDisplayNode().SetVisibility(True)
    yield


def hideBrain(nodes: DetectionNodes) -> None:
    """Hide the surface of the brain."""
    model = brainSurfaceOf(nodes)
    if model is not None:
        model.GetDisplayNode().SetVisibility(False)


def _inside(heatmap: Any) -> tuple[np.ndarray, np.ndarray]:
    """A coarse picture of the brain (0..1, with a free margin), and its matrix from indices (i, j, k) to (R, A, S)."""
    scores = voxels(heatmap)
    steps = [max(1, -(-size // MOST_SAMPLES)) for size in scores.shape]
    coarse = scores[tuple(slice(step // 2, None, step) for step in steps)] > 0  # the score is 0 outside of the brain
    matrix = matrixOf(heatmap)
    first = np.array([step // 2 - step for step in steps], float)[::-1]
    matrix[:3, 3] += matrix[:3, :3] @ first
    matrix[:3, :3] *= np.array(steps[::-1], float)
    return np.pad(coarse, 1).astype(np.float32), matrix


def _surface(inside: np.ndarray, matrix: np.ndarray) -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(inside.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(inside.ravel(), deep=True))
    smooth = vtk.vtkImageGaussianSmooth()
    smooth.SetInputData(image)
    smooth.SetStandardDeviation(SMOOTHING_SAMPLES)
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputConnection(smooth.GetOutputPort())
    contour.SetValue(0, 0.5)
    contour.ComputeNormalsOff()
    contour.ComputeScalarsOff()
    outside = vtk.vtkPolyDataConnectivityFilter()  # without the surfaces of the ventricles
    outside.SetInputConnection(contour.GetOutputPort())
    outside.SetExtractionModeToLargestRegion()
    even = vtk.vtkWindowedSincPolyDataFilter()
    even.SetInputConnection(outside.GetOutputPort())
    even.SetNumberOfIterations(SMOOTHING_STEPS)
    transform = vtk.vtkTransform()
    transform.SetMatrix(vtkMatrix(matrix))
    place = vtk.vtkTransformPolyDataFilter()
    place.SetInputConnection(even.GetOutputPort())
    place.SetTransform(transform)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(place.GetOutputPort())
    normals.SplittingOff()
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()
