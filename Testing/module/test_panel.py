"""The panel as a user meets it: the shipped scan, the shipped model, a click, and everything after it.

One run serves all tests of this file, in their order. Pictures of the panel and of the slice views go to
build/screenshots, for a look.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from fair_clock import fair_clock
from first_run import PICTURES, SAMPLE, look, opened_over_the_sample, picture, segment_size
from mrml_application import load_scene, save_scene
from stalls import Stalls
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

TRUTH = SAMPLE.with_name("synthetic_T2_brain_truth.nii.gz")
STALL_MS = 200
SEVERAL = 150  # of the slider: at 1.5 there are several findings, whatever the model
TOP_LAYER = 3
Wait = Callable[..., float]


@pytest.fixture(scope="module")
def slicer_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Slicer with the shipped scan and the panel."""
    with opened_over_the_sample(tmp_path_factory.mktemp("slicer")) as application:
        yield application


def test_volume_and_contrast_are_there_at_once(slicer_app: SimpleNamespace) -> None:
    ui = slicer_app.ui
    print(f"the panel opened in {slicer_app.opening:.2f} s")
    assert slicer_app.opening < 2
    assert ui.inputSelector.currentNode() is slicer_app.scan
    assert ui.contrastBox.currentText == "T2" and ui.contrastHint.text == "as the name says"
    assert ui.detectButton.enabled
    assert "not a medical device" in ui.disclaimerLabel.text
    assert ui.advancedSection.collapsed and not ui.progressArea.visible
    assert ui.bundleBox.count >= 1 and not ui.cardArea.visible
    ui.cardButton.checked = True
    assert ui.cardArea.visible and "Intended use" in slicer_app.panel.input._card.plainText
    ui.cardButton.checked = False
    picture(slicer_app, "1-ready")


def test_the_probe_says_what_can_compute(slicer_app: SimpleNamespace, wait_until: Wait) -> None:
    wait_until(lambda: slicer_app.ui.deviceBox.count > 1 and "PyTorch" in slicer_app.ui.deviceHint.text, 60)
    assert slicer_app.ui.deviceBox.findData("cpu") > 0
    slicer_app.ui.deviceBox.currentIndex = slicer_app.ui.deviceBox.findData("cpu")
    assert slicer_app.panel._parameters.device == "cpu"


def test_a_click_detects_and_slicer_stays_responsive(slicer_app: SimpleNamespace, wait_until: Wait) -> None:
    ui = slicer_app.ui
    titles, fractions = [], []
    stalls = Stalls()
    ui.detectButton.click()
    assert not ui.detectButton.enabled and ui.progressArea.visible and not ui.scanSection.enabled

    def over() -> bool:
        titles.append(ui.stageLabel.text)
        fractions.append(ui.progressBar.value)
        if "Reconstructing" in titles[-1] and not (PICTURES / "2-running.png").exists():
            picture(slicer_app, "2-running")
            stalls.forgive()
        return not slicer_app.panel.run.busy

    (PICTURES / "2-running.png").unlink(missing_ok=True)
    seconds = wait_until(over, 240)
    print(f"click to results: {seconds:.1f} s; {stalls.stop()}")
    assert re.fullmatch(r"\d+ candidates?, \d+\.\d ml; scan quality OK", ui.messageLabel.text)
    assert ui.scanSection.collapsed
    assert fractions == sorted(fractions) and max(fractions) > 900
    assert any("left" in title for title in titles) and any("%" in title for title in titles)
    assert ui.detectButton.enabled and not ui.progressArea.visible
    assert stalls.counted < STALL_MS


def test_the_lesion_is_shown(slicer_app: SimpleNamespace) -> None:
    live = slicer_app.panel.findings.live
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(TRUTH))) > 0
    numbers = live.numbers()
    assert (numbers[truth] == 1).mean() > 0.5, "finding 1 is the lesion"
    assert slicer_app.ui.findingsTable.rowCount == len(live.selection.findings) > 0
    composite = slicer_app.mrml.scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    if composite:
        assert composite.GetBackgroundVolumeID() == slicer_app.scan.GetID()
        assert composite.GetNthLayerVolumeID(TOP_LAYER) == live.nodes.heatmap.GetID()
    if slicer_app.views:
        look(slicer_app)
    slicer_app.ui.findingsTable.selectRow(0)
    picture(slicer_app, "3-found")


def test_sliders_are_followed_within_100_ms(slicer_app: SimpleNamespace) -> None:
    ui, live = slicer_app.ui, slicer_app.panel.findings.live
    milliseconds, sizes, clock = [], [], fair_clock()
    for value in (100, 110, 130, 150, 170, 200, 300, 400, SEVERAL):
        tries = []
        for start in (250, 251, 252):  # the best of three: other programs may be in the way
            ui.sensitivitySlider.value = start
            begin = clock()
            ui.sensitivitySlider.value = value
            tries.append(1000 * (clock() - begin))
        milliseconds.append(min(tries))
        sizes.append(segment_size(slicer_app))
        assert live.threshold == value / 100
        assert ui.findingsTable.rowCount == min(200, live.nodes.findings.GetNumberOfRows())
    print(f"sensitivity slider: {', '.join(f'{value:.0f}' for value in milliseconds)} ms")
    assert max(milliseconds) < 100
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True) and sizes[0] > sizes[5] > sizes[7]
    assert "in a healthy brain" in ui.expectedLabel.text and ui.expectedLabel.visible and not ui.sensitivityLabel.text
    rows = ui.findingsTable.rowCount
    ui.minVolumeBox.value = 1.0
    assert 0 < ui.findingsTable.rowCount < rows
    ui.minVolumeBox.value = 0.05
    assert ui.findingsTable.rowCount == rows


def test_choosing_a_finding_moves_the_views(slicer_app: SimpleNamespace) -> None:
    if not slicer_app.views:
        pytest.skip("no slice views here")
    findings = slicer_app.panel.findings.live.selection.findings
    for row in (1, 0):
        slicer_app.ui.findingsTable.selectRow(row)
        for name, axis in (("Red", 2), ("Green", 1), ("Yellow", 0)):
            shown = slicer_app.views[name].slice_node.GetSliceToRAS().GetElement(axis, 3)
            assert shown == pytest.approx(findings[row].centerRas[axis], abs=0.6)


def test_a_rejected_finding_leaves_the_segmentation_and_may_come_back(slicer_app: SimpleNamespace) -> None:
    ui, live = slicer_app.ui, slicer_app.panel.findings.live
    ui.advanceBox.checked = False
    before = segment_size(slicer_app)
    ui.findingsTable.selectRow(1)
    assert ui.rejectButton.enabled and not ui.reopenButton.enabled
    ui.rejectButton.click()
    assert live.selection.findings[1].status == "rejected"
    assert ui.findingsTable.item(1, 1).text() == "rejected" and ui.findingsTable.currentRow() == 1
    assert segment_size(slicer_app) < before
    assert not ui.rejectButton.enabled and ui.reopenButton.enabled
    ui.sensitivitySlider.value = SEVERAL + 20
    ui.sensitivitySlider.value = SEVERAL
    assert live.selection.findings[1].status == "rejected"
    ui.findingsTable.selectRow(0)
    ui.acceptButton.click()
    assert ui.findingsTable.item(0, 1).text() == "accepted"
    ui.findingsTable.selectRow(1)
    ui.reopenButton.click()
    assert segment_size(slicer_app) == before
    ui.rejectButton.click()
    picture(slicer_app, "4-reviewed")


def test_opacity_comparison_and_the_way_back(slicer_app: SimpleNamespace) -> None:
    if not slicer_app.views:
        pytest.skip("no slice views here")
    ui, nodes = slicer_app.ui, slicer_app.panel.findings.live.nodes
    composite = {name: view.composite_node for name, view in slicer_app.views.items()}
    ui.opacitySlider.value = 30
    assert composite["Red"].GetNthLayerOpacity(TOP_LAYER) == pytest.approx(0.3)
    ui.compareBox.currentIndex = 1
    assert composite["Green"].GetNthLayerVolumeID(TOP_LAYER) == nodes.reconstruction.GetID()
    assert composite["Green"].GetNthLayerOpacity(TOP_LAYER) == 0.5
    ui.fadeSlider.value = 100
    assert composite["Green"].GetNthLayerOpacity(TOP_LAYER) == 1.0
    picture(slicer_app, "5-faded")
    ui.compareBox.currentIndex = 2
    assert composite["Red"].GetBackgroundVolumeID() == slicer_app.scan.GetID()
    assert composite["Yellow"].GetBackgroundVolumeID() == nodes.reconstruction.GetID()
    yellow = slicer_app.views["Yellow"].slice_node
    places = [slicer_app.views[name].slice_node.GetSliceToRAS() for name in ("Red", "Yellow")]
    assert [places[0].GetElement(row, 3) for row in range(3)] == [places[1].GetElement(row, 3) for row in range(3)]
    assert yellow.GetOrientation() == "Axial"
    ui.compareBox.currentIndex = 0
    assert yellow.GetOrientation() == "Sagittal"
    assert composite["Yellow"].GetNthLayerVolumeID(TOP_LAYER) == nodes.heatmap.GetID()
    ui.opacitySlider.value = 60
    assert ui.restoreButton.enabled
    ui.restoreButton.click()
    assert composite["Red"].GetNthLayerVolumeID(TOP_LAYER) is None
    assert composite["Red"].GetBackgroundVolumeID() == slicer_app.scan.GetID()
    assert not ui.restoreButton.enabled


def test_export(slicer_app: SimpleNamespace, tmp_path: Path) -> None:
    import qt

    ui, live = slicer_app.ui, slicer_app.panel.findings.live
    qt.QFileDialog.answers = [str(tmp_path / name) for name in ("c.nii.gz", "c.seg.nrrd", "report.json")]
    ui.exportNiftiButton.click()
    labels = sitk.ReadImage(str(tmp_path / "c.nii.gz"))
    scan = sitk.ReadImage(str(SAMPLE))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), live.numbers())
    np.testing.assert_allclose(labels.GetOrigin(), scan.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(labels.GetDirection(), scan.GetDirection(), atol=1e-6)
    ui.exportNrrdButton.click()
    header = (tmp_path / "c.seg.nrrd").read_bytes()[:6000].decode("ascii", "replace")
    assert "Candidate 1, accepted" in header and "AUTOMATIC" in header and "Suspected" in header
    ui.exportReportButton.click()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["statement"] == "Research use only, not a medical device"
    assert report["reviewed"]["findings"][1]["status"] == "rejected"


def test_diagnostics_name_versions_and_no_names(slicer_app: SimpleNamespace) -> None:
    slicer_app.ui.diagnosticsButton.click()
    text = slicer_app.app.clipboard().text()
    assert "Slicer 5.10.0 (34045)" in text and "PyTorch 2" in text and '"job": "detect"' in text
    assert "Synthetic_T2_brain" not in text and str(Path.home()) not in text.replace("~", "")


@pytest.mark.parametrize("home", [PureWindowsPath("C:/Users/jane.jos\u00e9"), PurePosixPath("/home/jos\u00e9")])
def test_diagnostics_do_not_name_the_home_folder_in_any_form(
    slicer_app: SimpleNamespace, home: PurePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run.Diagnostics import diagnostics

    monkeypatch.setattr(Path, "home", lambda: home)
    model = str(home / "model")
    log = [model, json.dumps({"bundle": model}), repr(model), ascii(model), f"file:///{(home / 'wheels').as_posix()}"]
    text = diagnostics("Slicer", "CPU", "residual", str(home), "\n".join(log), ())
    assert "jane" not in text and "jos" not in text and text.count("~") == 6


def test_a_saved_scene_fills_the_panel_again(slicer_app: SimpleNamespace, wait_until: Wait, tmp_path: Path) -> None:
    ui, panel = slicer_app.ui, slicer_app.panel
    ui.sensitivitySlider.value = SEVERAL - 5
    ui.opacitySlider.value = 45
    before = [(f.volumeMl, f.status) for f in panel.findings.live.selection.findings]
    path = tmp_path / "scene.mrb"
    save_scene(slicer_app.mrml, path)
    assert before[1][1] == "rejected"
    slicer_app.mrml.scene.Clear(False)
    assert panel.findings.live is None and ui.findingsTable.rowCount == 0
    assert not ui.detectButton.enabled and not ui.exportSection.enabled
    load_scene(slicer_app.mrml, path)
    stalls = Stalls()
    wait_until(lambda: panel.findings.live is not None, 30)
    print(f"a loaded scene is taken up: {stalls.stop()}")
    assert stalls.counted < STALL_MS
    assert [(f.volumeMl, f.status) for f in panel.findings.live.selection.findings] == before
    assert ui.sensitivitySlider.value == SEVERAL - 5 and ui.opacitySlider.value == 45
    assert ui.inputSelector.currentNode().GetName() == "Synthetic_T2_brain"
    rows = ui.findingsTable.rowCount
    ui.sensitivitySlider.value = 300
    assert ui.findingsTable.rowCount < rows
    ui.sensitivitySlider.value = SEVERAL
    ui.compareBox.currentIndex = 0
    panel.views.setDetection(panel.findings.live.nodes, show=True)
    if slicer_app.views:
        look(slicer_app)
    picture(slicer_app, "6-loaded-again")


def test_a_deleted_part_is_made_again_and_a_deleted_result_leaves_the_panel(slicer_app: SimpleNamespace) -> None:
    live = slicer_app.panel.findings.live
    slicer_app.mrml.scene.RemoveNode(live.nodes.segmentation)
    slicer_app.ui.sensitivitySlider.value = SEVERAL + 5
    assert slicer_app.panel.findings.live is not None and segment_size(slicer_app) > 0
    slicer_app.mrml.scene.RemoveNode(slicer_app.panel.findings.live.nodes.heatmap)
    assert slicer_app.panel.findings.live is None
    assert slicer_app.ui.detectionBox.count == 0
