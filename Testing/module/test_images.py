"""Volumes that hold several images: echoes, frames, values. One is chosen, and becomes a volume of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from desk import Desk
from made_up_scans import RAS, VOXELS, enhanced
from mrml_application import MrmlApplication
from standin.dicom_database import DicomDatabase
from stored_scans.dicom_places import blocks
from vtk.util import numpy_support

ECHOES = ({"EchoTime": "20"}, {"EchoTime": "90"})


@pytest.fixture
def desk(empty: Desk) -> Desk:
    return empty


@pytest.fixture
def load(
    mrml: MrmlApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, DicomDatabase]]:
    """Load a made-up series of several images at each place as Slicer does."""

    def loading(*marks: dict[str, Any], name: str = "5: PD and T2") -> tuple[Any, DicomDatabase]:
        database = DicomDatabase(blocks(*marks)(tmp_path))
        monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
        return database.load(mrml.logics.volumes, name), database

    return loading


def volume(mrml: MrmlApplication, values: np.ndarray, kind: str = "Vector", name: str = "many") -> Any:
    """A volume of values (z, y, x, n)."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*values.shape[2::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.reshape(-1, values.shape[-1]), deep=True))
    node = mrml.scene.AddNewNodeByClass(f"vtkMRML{kind}VolumeNode", name)
    node.SetAndObserveImageData(image)
    node.SetSpacing(2, 3, 4)
    return node


def choose(desk: Desk, node: Any, title: str) -> Any:
    """Choose a volume and an image of it, as a user does; returns the volume that is then chosen."""
    desk.ui.inputSelector.setCurrentNode(node)
    box = desk.ui.imageBox
    assert box.isVisibleTo(desk.widget.parent) and not desk.ui.detectButton.property("enabled")
    box.setCurrentIndex(next(index for index, text in enumerate(desk.texts(box)) if title in text))
    return desk.panel.input.volume


def array(node: Any) -> np.ndarray:
    from CondDiffusionUADLib.scene.Nodes import voxels

    return voxels(node)


def test_an_echo_of_a_series_becomes_a_volume_with_its_own_grid_and_voxels(desk: Desk, load: Any) -> None:
    from CondDiffusionUADLib.scene.Nodes import matrixOf

    whole, database = load(*ECHOES)
    assert array(whole).shape[0] == 32, "Slicer takes both echoes for slices of one volume"
    desk.settle()
    echo = choose(desk, whole, "echo time 90 ms")
    assert echo is not whole and "echo time 90 ms" in echo.GetName()
    np.testing.assert_array_equal(array(echo), VOXELS.T // 2)
    np.testing.assert_allclose(matrixOf(echo), RAS, atol=1e-4)
    instances = echo.GetAttribute("DICOM.instanceUIDs").split()
    assert [database.instanceValue(instance, "0018,0081") for instance in instances] == ["90"] * 16
    assert not desk.ui.imageBox.isVisibleTo(desk.widget.parent), "it is one image"
    assert desk.ui.detectButton.property("enabled")
    assert choose(desk, whole, "echo time 90 ms") is echo, "always the same volume"
    assert choose(desk, whole, "echo time 20 ms") is not echo


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (({}, {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}), "image type ORIGINAL\\PRIMARY\\P\\ND"),
        (({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}), "time 2"),
        (({}, {}), "2: 16 images"),
    ],
)
def test_whatever_tells_them_apart_is_named(desk: Desk, load: Any, marks: Any, told: str) -> None:
    whole, _ = load(*marks)
    image = choose(desk, whole, told)
    np.testing.assert_array_equal(array(image), VOXELS.T // 2)


def test_a_script_is_told_that_a_series_holds_several_images(desk: Desk, load: Any) -> None:
    from CondDiffusionUADLib.run.Application import detect
    from CondDiffusionUADLib.run.Problems import ProblemError

    whole, _ = load(*ECHOES)
    with pytest.raises(ProblemError, match="holds 2 images: 1: echo time 20 ms") as raised:
        detect(whole, contrast="T2")
    assert raised.value.problem.code == "several_images"


def test_a_series_of_one_image_is_not_asked_about(desk: Desk, load: Any) -> None:
    whole, _ = load({"EchoTime": "90"}, name="AX T2")
    desk.settle()
    assert desk.panel.input.volume is whole and desk.ui.detectButton.property("enabled")
    assert not desk.ui.imageBox.isVisibleTo(desk.widget.parent)


def test_files_that_went_are_told(desk: Desk, load: Any, tmp_path: Path) -> None:
    whole, _ = load(*ECHOES)
    for path in (tmp_path / "s").iterdir():
        path.unlink()
    assert choose(desk, whole, "1:") is whole, "Slicer's database keeps the tags of files that are gone"
    assert desk.ui.imageHint.property("text").startswith("Slicer cannot read the files of 1: echo time 20 ms")
    assert desk.ui.imageBox.property("currentText") == "Choose..."


@pytest.mark.parametrize(("count", "told"), [(16, ""), (32, "Its file holds 32 images at 16 places.")])
def test_a_file_that_holds_several_images_at_each_place_is_told(
    desk: Desk, mrml: MrmlApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, told: str
) -> None:
    (tmp_path / "s").mkdir()
    enhanced(tmp_path / "s" / "scan.dcm", [index // (count // 16) for index in range(count)])
    database = DicomDatabase(tmp_path / "s")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node = volume(mrml, np.zeros((count, 24, 20, 1), np.int16), "Scalar", "T2")
    node.SetAttribute("DICOM.instanceUIDs", next(iter(database._files)))
    desk.ui.inputSelector.setCurrentNode(node)
    hint = desk.ui.imageHint.property("text")
    assert hint.startswith(told) and bool(hint) == bool(told)
    assert desk.ui.detectButton.property("enabled") != bool(told)


def test_a_frame_of_a_sequence_becomes_a_volume_that_browsing_does_not_change(
    desk: Desk, mrml: MrmlApplication
) -> None:
    sequence = mrml.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "perfusion")
    sequence.SetIndexName("EchoTime")
    sequence.SetIndexUnit("ms")
    values = np.random.default_rng(0).integers(0, 99, (3, 5, 4, 6, 1)).astype(np.int16)
    for number, frame in enumerate(values):
        node = volume(mrml, frame, "Scalar")
        sequence.SetDataNodeAtValue(node, str(30 * (number + 1)))
        mrml.scene.RemoveNode(node)
    mrml.scene.RegisterNodeClass(slicer.vtkMRMLSequenceBrowserNode())  # as Slicer's module Sequences does
    browser = mrml.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    proxy = volume(mrml, values[0], "Scalar", "perfusion")
    browser.AddProxyNode(proxy, sequence, False)
    desk.settle()
    shown = browser.GetProxyNode(sequence)
    frame = choose(desk, shown, "3: EchoTime 90 ms")
    assert frame is not shown and frame.GetSpacing() == (2, 3, 4)
    np.testing.assert_array_equal(array(frame), values[2, ..., 0])
    array(shown)[:] = 0
    np.testing.assert_array_equal(array(frame), values[2, ..., 0])


def test_a_value_of_a_vector_volume_becomes_a_scan(desk: Desk, mrml: MrmlApplication) -> None:
    values = np.random.default_rng(0).integers(0, 99, (5, 4, 6, 2)).astype(np.int16)
    many = volume(mrml, values)
    many.SetAttribute("MultiVolume.FrameLabels", "20,90")
    many.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "EchoTime")
    many.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
    desk.settle()
    assert desk.panel.input.volume is many, "there is no other"
    one = choose(desk, many, "2: EchoTime 90 ms")
    np.testing.assert_array_equal(array(one), values[..., 1])
    assert one.GetClassName() == "vtkMRMLScalarVolumeNode" and one.GetSpacing() == (2, 3, 4)
    many.RemoveAttribute("MultiVolume.FrameLabels")
    np.testing.assert_array_equal(array(choose(desk, many, "image 1 of 2")), values[..., 0])


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("Vector", np.zeros((5, 4, 6, 3), np.uint8), "It is in color. Choose"),
        ("DiffusionWeighted", np.zeros((5, 4, 6, 7), np.int16), "It is a diffusion image"),
    ],
)
def test_what_cannot_be_a_scan_is_told_why(
    desk: Desk, mrml: MrmlApplication, kind: str, values: np.ndarray, reason: str
) -> None:
    node = volume(mrml, values, kind)
    desk.ui.inputSelector.setCurrentNode(node)
    assert desk.ui.imageHint.property("text").startswith(reason)
    assert desk.ui.imageHint.isVisibleTo(desk.widget.parent)
    assert not desk.ui.detectButton.property("enabled") and not desk.ui.imageBox.isVisibleTo(desk.widget.parent)


@pytest.mark.parametrize(("name", "count"), [("four.nii.gz", 4), ("four.nii", 4), ("one.nii.gz", 1), ("cut.nii.gz", 0)])
def test_images_that_slicer_left_out_are_told(
    desk: Desk, mrml: MrmlApplication, tmp_path: Path, name: str, count: int
) -> None:
    path, one = tmp_path / name, sitk.GetImageFromArray(VOXELS.T)
    sitk.WriteImage(sitk.JoinSeries([one] * count) if count > 1 else one, str(path))
    # The application reads the first of them, without a word; slicer-core does not read such a file at all.
    node, storage = volume(mrml, VOXELS.T[..., None], "Scalar"), slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    node.SetAndObserveStorageNodeID(mrml.scene.AddNode(storage).GetID())
    if not count:
        path.write_bytes(path.read_bytes()[:40])
    desk.ui.inputSelector.setCurrentNode(node)
    assert ("The file holds 4 images" in desk.ui.imageHint.property("text")) == (count == 4)
    assert desk.ui.detectButton.property("enabled")


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"ContrastBolusAgent": "Gadovist"}, "an image after contrast agent (ContrastBolusAgent: Gadovist)"),
        ({"SeriesDescription": "t2_tirm_tra"}, "FLAIR or STIR by its inversion time (SeriesDescription: t2_tirm_tra)"),
        ({"SeriesDescription": "PD TSE"}, "a proton density image (SeriesDescription: PD TSE)"),
    ],
)
def test_what_is_no_known_contrast_is_asked_for_with_the_reason(
    desk: Desk, load: Any, tags: dict[str, str], says: str
) -> None:
    whole, _ = load(tags)
    desk.ui.inputSelector.setCurrentNode(whole)
    assert says in desk.ui.contrastDoubt.property("text") and desk.ui.contrastDoubt.isVisibleTo(desk.widget.parent)
    assert desk.ui.contrastBox.property("currentText") == "Choose..."
