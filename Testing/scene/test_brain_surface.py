"""The surface of the brain in 3D: where the brain is, seen with its detection only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mrml_application import MrmlApplication, load_volume
from vtk.util import numpy_support

from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, readDetectionOutput
from CondDiffusionUADLib.scene.BrainSurface import brainSurfaceOf, hideBrain, showingBrainSteps
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, matrixOf, voxels
from CondDiffusionUADLib.scene.Scene import addDetection


def show(nodes: DetectionNodes) -> Any:
    for _step in showingBrainSteps(nodes):
        pass
    return brainSurfaceOf(nodes)


def test_the_surface_surrounds_the_brain(mrml: MrmlApplication, any_case: Any) -> None:
    scan = load_volume(mrml, any_case.scan, "scan")
    nodes = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(any_case.folder))
    scores = voxels(nodes.heatmap)
    brain = np.zeros_like(scores)
    brain[6:24, 8:40, 8:34] = scores[6:24, 8:40, 8:34]
    scores[:] = brain
    surface = show(nodes)
    points = numpy_support.vtk_to_numpy(surface.GetPolyData().GetPoints().GetData())
    inverse = np.linalg.inv(matrixOf(nodes.heatmap))
    indices = (np.c_[points, np.ones(len(points))] @ inverse.T)[:, :3]
    np.testing.assert_allclose(indices.min(axis=0), (7.5, 7.5, 5.5), atol=0.75)
    np.testing.assert_allclose(indices.max(axis=0), (33.5, 39.5, 23.5), atol=0.75)
    assert surface.GetDisplayNode().GetOpacity() < 0.3 and surface.GetDisplayNode().GetVisibility()


def test_it_is_hidden_with_its_detection_and_made_once(
    mrml: MrmlApplication, nodes: DetectionNodes, scan: Any, output: DetectionOutput
) -> None:
    surface = show(nodes)
    hideBrain(nodes)
    assert not surface.GetDisplayNode().GetVisibility()
    assert show(nodes) is surface and surface.GetDisplayNode().GetVisibility()
    addDetection(mrml.scene, mrml.logics, scan, output)
    assert not surface.GetDisplayNode().GetVisibility()
    assert len(findDetections(mrml.scene)) == 2


def test_a_heatmap_without_brain_has_an_empty_one(nodes: DetectionNodes) -> None:
    voxels(nodes.heatmap)[:] = 0
    assert show(nodes).GetPolyData().GetNumberOfPoints() == 0


@pytest.mark.parametrize("again", [False, True])
def test_it_moves_with_the_heatmap(mrml: MrmlApplication, nodes: DetectionNodes, again: bool) -> None:
    if again:
        show(nodes)
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    nodes.heatmap.SetAndObserveTransformNodeID(transform.GetID())
    assert show(nodes).GetTransformNodeID() == transform.GetID()
