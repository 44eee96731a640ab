"""Which volume is taken, which contrast it is said to have, and how it is written for the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from mrml_application import MrmlApplication
from vtk.util import numpy_support

DIRECTION = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64, np.int64]
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_every_kind_of_volume_is_written_exactly(
    mrml: MrmlApplication, tmp_path: Path, dtype: Any, mirrored: bool
) -> None:
    from CondDiffusionUADLib.scene.InputVolume import writingSteps

    values = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(dtype)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(3, 4, 5)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.ravel(), deep=True))
    node = mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    node.SetAndObserveImageData(image)
    direction = DIRECTION * ([1, 1, -1] if mirrored else [1, 1, 1])
    node.SetIJKToRASDirections(*direction.ravel())
    node.SetSpacing(0.9, 1.1, 1.0 / 3.0)
    node.SetOrigin(1.0 / 7.0, -20.0, 3e-7)
    assert sum(1 for _ in writingSteps(node, tmp_path / "scan.nrrd")) >= 1
    read = sitk.ReadImage(str(tmp_path / "scan.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), values)
    assert sitk.GetArrayFromImage(read).dtype == dtype
    to_lps = np.diag((-1.0, -1.0, 1.0))
    np.testing.assert_allclose(read.GetSpacing(), node.GetSpacing(), rtol=1e-14)
    np.testing.assert_allclose(read.GetOrigin(), to_lps @ node.GetOrigin(), rtol=1e-14)
    np.testing.assert_allclose(np.reshape(read.GetDirection(), (3, 3)), to_lps @ direction, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "instances", "tags", "guess"),
    [
        ("sub-01_T1w", "", {}, ("T1", "name")),
        ("Series 7", "1.2 1.3", {("1.2", "0008,103E"): "AX T2 TSE"}, ("T2", "DICOM")),
        ("Series 7", "1.2", {("1.2", "0018,1030"): "t2_tirm_dark-fluid"}, ("FLAIR", "DICOM")),
        ("T1", "1.2", {("1.2", "0008,103E"): "AX FLAIR"}, ("FLAIR", "DICOM")),
        ("T1", "1.2", {}, ("T1", "name")),
        ("brain", "", {}, None),
        ("T1 post", "", {}, None),
    ],
)
def test_the_contrast_is_told_by_dicom_tags_or_the_name(
    mrml: MrmlApplication, name: str, instances: str, tags: dict[Any, str], guess: Any
) -> None:
    from CondDiffusionUADLib.scene.InputVolume import guessContrast

    node = mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    if instances:
        node.SetAttribute("DICOM.instanceUIDs", instances)
    assert guessContrast(node, lambda instance, tag: tags.get((instance, tag), "")) == guess


def test_the_shown_or_else_the_last_volume_is_preselected_and_no_result(mrml: MrmlApplication) -> None:
    from CondDiffusionUADLib.scene.InputVolume import preselected
    from CondDiffusionUADLib.scene.Nodes import DetectionNodes, linkNodes

    assert preselected([], None) is None
    kinds = ("ScalarVolume", "ScalarVolume", "LabelMapVolume", "ScalarVolume", "ScalarVolume")
    first, second, labels, heatmap, reconstruction = volumes = [
        mrml.scene.AddNewNodeByClass(f"vtkMRML{kind}Node", kind) for kind in kinds
    ]
    others = [mrml.scene.AddNewNodeByClass(f"vtkMRML{kind}Node", kind) for kind in ("Segmentation", "Table", "Text")]
    linkNodes(DetectionNodes(first, heatmap, reconstruction, *others))
    assert preselected(volumes, None) is second
    assert preselected(volumes, first) is first
    assert preselected(volumes, heatmap) is second
    assert preselected([labels], labels) is None


def test_bundles_are_those_in_the_folder_and_damaged_ones_are_left_out(tmp_path: Path, small_bundle: Path) -> None:
    import json

    from conddiffusion_uad.protocol.job import USUAL_BUNDLE
    from CondDiffusionUADLib.run.Bundles import readBundle, shippedBundles

    for name in ("aaa", USUAL_BUNDLE, "zzz"):
        (tmp_path / name / "configs").mkdir(parents=True)
        text = (small_bundle / "configs" / "metadata.json").read_text()
        (tmp_path / name / "configs" / "metadata.json").write_text(text)
    for name, text in (("damaged", "{"), ("other", json.dumps({"conddiffusion_uad": {}}))):
        (tmp_path / name / "configs").mkdir(parents=True)
        (tmp_path / name / "configs" / "metadata.json").write_text(text)
    assert [bundle.name for bundle in shippedBundles(tmp_path)] == [USUAL_BUNDLE, "aaa", "zzz"]
    assert shippedBundles(tmp_path / "nowhere") == []
    bundle = readBundle(small_bundle)
    assert bundle is not None and bundle.contrasts == ("T1", "T2") and bundle.levels == (250, 500)
    assert bundle.levelsFor("fast") == (500,) and bundle.levelsFor("full") is None
    assert shippedBundles()[0].name == USUAL_BUNDLE and "Intended use" in shippedBundles()[0].card
