"""The nodes of a detection: geometry, place, names, links, and that a failure leaves no trace."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from mrml_application import MrmlApplication, load_volume

from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, DetectionOutputError, readDetectionOutput
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, voxels
from CondDiffusionUADLib.scene.Scene import SceneError, addDetection


def matrix_of(volume: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def test_volumes_have_exactly_the_grid_of_the_input(mrml: MrmlApplication, any_case: Any) -> None:
    scan = load_volume(mrml, any_case.scan, "scan")
    # A scan that Slicer read from DICOM has more digits than the header of a NIfTI file keeps.
    matrix = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(matrix)
    matrix.SetElement(0, 3, matrix.GetElement(0, 3) + 1e-6)
    scan.SetIJKToRASMatrix(matrix)
    nodes = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(any_case.folder))
    for volume in (nodes.heatmap, nodes.reconstruction):
        assert volume.GetImageData().GetDimensions() == scan.GetImageData().GetDimensions()
        np.testing.assert_allclose(matrix_of(volume), matrix_of(scan), rtol=0, atol=1e-12)
    assert nodes.heatmap.GetImageData().GetScalarTypeAsString() == "float"
    np.testing.assert_array_equal(voxels(nodes.heatmap), any_case.score)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_left_handed_volume_gets_its_results_in_its_own_order(
    mrml: MrmlApplication, any_case: Any, mirrored: bool
) -> None:
    """Slicer makes what it reads right-handed, but a volume may have been made otherwise."""
    scan = load_volume(mrml, any_case.scan, "scan")
    score = any_case.score
    if mirrored:
        matrix = matrix_of(scan)
        matrix[:3, 3] += matrix[:3, 2] * (len(score) - 1)
        matrix[:3, 2] *= -1
        turned = vtk.vtkMatrix4x4()
        turned.DeepCopy(matrix.ravel())
        scan.SetIJKToRASMatrix(turned)
        score = score[::-1]
    nodes = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(any_case.folder))
    np.testing.assert_allclose(matrix_of(nodes.heatmap), matrix_of(scan), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(voxels(nodes.heatmap), score)


def test_results_move_with_the_parent_transform_of_the_input(
    mrml: MrmlApplication, scan: Any, output: DetectionOutput
) -> None:
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    scan.SetAndObserveTransformNodeID(transform.GetID())
    nodes = addDetection(mrml.scene, mrml.logics, scan, output)
    for node in (nodes.heatmap, nodes.reconstruction, nodes.segmentation):
        assert node.GetTransformNodeID() == transform.GetID()


def test_results_lie_in_one_folder_in_the_study_of_the_input(
    mrml: MrmlApplication, scan: Any, output: DetectionOutput
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(mrml.scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.CreateItem(study, scan)
    nodes = addDetection(mrml.scene, mrml.logics, scan, output)
    results = (nodes.heatmap, nodes.segmentation, nodes.reconstruction, nodes.findings, nodes.report)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in results}
    assert len(folders) == 1
    folder = folders.pop()
    assert hierarchy.GetItemName(folder) == "scan anomalies"
    assert hierarchy.GetItemParent(folder) == study
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(scan)) == study


def test_results_are_found_again_and_outlive_the_input(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    assert findDetections(mrml.scene) == [nodes]
    mrml.scene.RemoveNode(nodes.input)
    (found,) = findDetections(mrml.scene)
    assert found.input is None
    assert found.segmentation is nodes.segmentation


def test_results_do_not_depend_on_their_files(mrml: MrmlApplication, case: Any, nodes: DetectionNodes) -> None:
    for node in (nodes.heatmap, nodes.reconstruction, nodes.segmentation, nodes.findings):
        storage = node.GetStorageNode()
        assert storage is None or not storage.GetFileName()
    shutil.rmtree(case.folder)
    np.testing.assert_array_equal(voxels(nodes.heatmap), case.score)


def test_reconstruction_is_shown_as_bright_as_the_input(nodes: DetectionNodes) -> None:
    shown, source = nodes.reconstruction.GetDisplayNode(), nodes.input.GetDisplayNode()
    assert (shown.GetWindow(), shown.GetLevel()) == (source.GetWindow(), source.GetLevel())
    assert not shown.GetAutoWindowLevel()


def test_every_result_says_research_use(nodes: DetectionNodes) -> None:
    assert "not a medical device" in nodes.heatmap.GetDescription()
    assert "not a medical device" in nodes.segmentation.GetDescription()


def shift(path: Path) -> None:
    image = sitk.ReadImage(str(path))
    image.SetOrigin([value + 1.0 for value in image.GetOrigin()])
    sitk.WriteImage(image, str(path))


def crop(path: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(path))[:-1], str(path))


def damage(path: Path) -> None:
    path.write_bytes(b"no image")


@pytest.mark.parametrize("spoil", [shift, crop, damage])
@pytest.mark.parametrize("name", ["heatmap.nii.gz", "reconstruction.nii.gz"])
def test_a_volume_that_does_not_fit_leaves_the_scene_as_it_was(
    mrml: MrmlApplication, scan: Any, case: Any, output: DetectionOutput, name: str, spoil: Any
) -> None:
    spoil(case.folder / name)
    before = node_ids(mrml.scene)
    with pytest.raises(SceneError):
        addDetection(mrml.scene, mrml.logics, scan, output)
    assert node_ids(mrml.scene) == before
    assert not mrml.scene.IsBatchProcessing()


def test_no_volume_is_taken_for_one_that_went_meanwhile(
    mrml: MrmlApplication, scan: Any, case: Any, output: DetectionOutput
) -> None:
    shutil.copy(output.heatmap, output.uncertainty)
    output.reconstruction.unlink()
    with pytest.raises(SceneError):
        addDetection(mrml.scene, mrml.logics, scan, output)


@pytest.mark.parametrize("name", ["report.json", "reconstruction.nii.gz", "heatmap.nii.gz"])
def test_an_unfinished_output_folder_is_refused(case: Any, name: str) -> None:
    (case.folder / name).unlink()
    with pytest.raises(DetectionOutputError, match=name):
        readDetectionOutput(case.folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parameters": {"threshold": "high"}}'])
def test_a_report_that_cannot_be_understood_is_refused(case: Any, text: str) -> None:
    (case.folder / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(DetectionOutputError, match="cannot be understood"):
        readDetectionOutput(case.folder)
