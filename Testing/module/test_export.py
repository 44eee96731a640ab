"""Exporting: which findings, where to, and under which name."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
from desk import Desk
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """A result: the first finding accepted, the second rejected, two undecided."""
    desk.detect()
    desk.ui.acceptButton.click()
    desk.ui.rejectButton.click()
    qt.QFileDialog.suggested.clear()
    return desk


@pytest.mark.parametrize(("scope", "numbers"), [("accepted", {1}), ("notRejected", {1, 3, 4}), ("all", {1, 2, 3, 4})])
def test_what_is_exported(desk: Desk, tmp_path: Path, scope: str, numbers: set[int]) -> None:
    ui = desk.ui
    ui.scopeBox.currentIndex = ui.scopeBox.findData(scope)
    qt.QFileDialog.answers = [str(tmp_path / "labels"), str(tmp_path / "c.seg.nrrd"), str(tmp_path / "t.csv")]
    ui.exportNiftiButton.click()
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "labels.nii.gz")))
    assert set(np.unique(labels)) == {0, *numbers}
    ui.exportNrrdButton.click()
    header = (tmp_path / "c.seg.nrrd").read_bytes()[:20000].decode("ascii", "replace")
    assert header.count("_Name:=") == len(numbers)
    ui.exportFindingsButton.click()
    with (tmp_path / "t.csv").open(newline="") as file:
        assert {int(row["number"]) for row in csv.DictReader(file)} == numbers
    assert desk.message == f"Exported to {tmp_path / 't.csv'}"


def test_the_suffix_is_that_of_the_button_and_the_folder_is_remembered(desk: Desk, tmp_path: Path) -> None:
    qt.QFileDialog.answers = [str(tmp_path / "mine"), str(tmp_path / "mine.v2"), ""]
    desk.ui.exportNrrdButton.click()
    desk.ui.exportNiftiButton.click()
    desk.ui.exportReportButton.click()
    assert sorted(path.name for path in tmp_path.glob("mine*")) == ["mine.seg.nrrd", "mine.v2.nii.gz"]
    assert qt.QFileDialog.suggested == [
        str(Path.home() / "candidates.seg.nrrd"),
        str(tmp_path / "candidates.nii.gz"),
        str(tmp_path / "report.json"),
    ]


def test_a_file_that_the_dialog_did_not_know_of_is_asked_about(desk: Desk, app: Application, tmp_path: Path) -> None:
    app.testing = False
    (tmp_path / "mine.csv").write_text("precious")
    for reply, content in (("Cancel", "precious"), ("OK", "number")):
        qt.QFileDialog.answers = [str(tmp_path / "mine")]
        qt.QMessageBox.answers = [reply]
        desk.ui.exportFindingsButton.click()
        assert (tmp_path / "mine.csv").read_text().startswith(content)


def test_what_cannot_be_written_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    qt.QFileDialog.answers = [str(tmp_path / "file" / "inside.nii.gz"), str(tmp_path)]
    desk.ui.exportNiftiButton.click()
    assert "cannot be written" in desk.message
    desk.ui.exportDicomButton.click()
    assert "was not loaded from DICOM" in desk.message
