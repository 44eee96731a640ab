"""The panel beside a scene that others change: what is offered, what is said, and what is left when it goes."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slicer
from desk import Desk
from mrml_application import MrmlApplication, load_scene, load_volume, save_scene
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])


def offered(desk: Desk) -> list[str]:
    return desk.texts(desk.ui.inputSelector)


def test_an_empty_scene_says_why_nothing_can_be_detected(empty: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = empty.ui
    assert not ui.detectButton.enabled and ui.sampleArea.visible and ui.sampleButton.visible
    assert "Load a brain MRI" in ui.sampleLabel.text and ui.findingsLabel.text == "No detection yet."
    assert not ui.editButton.enabled and not ui.acceptButton.enabled and not ui.exportSection.enabled

    def load(path: str, properties: dict[str, str]) -> Any:
        assert Path(path).is_file()
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", properties["name"])
        return node

    monkeypatch.setattr(slicer.util, "loadVolume", load)
    ui.sampleButton.click()
    assert ui.inputSelector.currentNode().GetName() == "Synthetic_T2_brain" and ui.contrastBox.currentText == "T2"
    assert ui.detectButton.enabled and not ui.sampleArea.visible


def test_a_scene_without_a_chosen_scan_says_so(desk: Desk) -> None:
    desk.ui.inputSelector.setCurrentNode(None)
    assert desk.ui.sampleArea.visible and not desk.ui.sampleButton.visible
    assert desk.ui.sampleLabel.text == "Choose the volume with the brain MRI."


def test_only_scans_are_offered(desk: Desk, mrml: MrmlApplication) -> None:
    for kind in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLDiffusionTensorVolumeNode"):
        mrml.scene.AddNewNodeByClass(kind, kind)
    desk.settle()
    assert offered(desk) == ["None", "ball_T1"]
    desk.detect()
    desk.settle()
    assert offered(desk) == ["None", "ball_T1"], "not what the module made itself"
    copy = mrml.scene.CopyNode(desk.panel.findings.live.nodes.heatmap)
    desk.settle()
    assert copy.GetName() not in offered(desk)


def test_a_deleted_scan_leaves_no_other_one_chosen(desk: Desk, mrml: MrmlApplication, scan_file: Path) -> None:
    scan = desk.panel.input.volume
    load_volume(mrml, scan_file, "another_T2")
    desk.detect()
    assert desk.message
    mrml.scene.RemoveNode(scan)
    assert desk.ui.inputSelector.currentNode() is None and not desk.ui.detectButton.enabled
    assert desk.message == "" and desk.ui.contrastHint.text == ""
    desk.settle()
    assert desk.ui.sampleArea.visible


def test_a_cleared_scene_leaves_nothing_said(desk: Desk, mrml: MrmlApplication, scan_file: Path) -> None:
    desk.detect()
    mrml.scene.Clear(False)
    ui = desk.ui
    assert desk.message == "" and ui.contrastHint.text == "" and ui.findingsLabel.text == "No detection yet."
    assert ui.findingsTable.rowCount == 0 and not ui.scanSection.collapsed
    load_volume(mrml, scan_file, "another_T2")
    desk.settle()
    assert desk.panel.input.volume.GetName() == "another_T2" and desk.message == ""


def test_another_scan_is_not_what_the_message_is_about(desk: Desk, mrml: MrmlApplication, scan_file: Path) -> None:
    desk.detect()
    desk.ui.inputSelector.setCurrentNode(load_volume(mrml, scan_file, "another_T2"))
    assert desk.message == ""


def test_a_scan_that_is_renamed_is_the_same_scan(desk: Desk) -> None:
    desk.detect()
    before, node = desk.message, desk.ui.inputSelector.currentNode()
    assert before.endswith("; 1 warning")
    node.SetName("somebody")
    desk.ui.inputSelector._changed.emit(node)  # as Slicer's list does then
    desk.settle()
    assert desk.ui.contrastBox.currentText == "T1" and desk.ui.detectButton.enabled
    desk.ui.sensitivitySlider.value += 1
    assert desk.message == before


def test_what_scripts_choose_is_shown(desk: Desk, mrml: MrmlApplication, scan_file: Path) -> None:
    desk.detect()
    ui, parameters = desk.ui, desk.panel._parameters.parameterNode
    for name, value in (("opacity", "0.3"), ("seed", "7"), ("quality", "fast"), ("legend", "False")):
        parameters.SetParameter(name, value)
    flair = load_volume(mrml, scan_file, "sub_FLAIR")
    parameters.SetNodeReferenceID("inputVolume", flair.GetID())
    desk.settle()
    assert (ui.opacitySlider.value, ui.seedBox.value, ui.qualityBox.currentText) == (30, 7, "Fast")
    assert not ui.legendBox.checked and ui.inputSelector.currentNode() is flair
    ui.legendBox.checked = True
    ui.advanceBox.checked = False
    assert parameters.GetParameter("legend") == "True" and parameters.GetParameter("autoAdvance") == "False"


def test_results_that_a_script_made_are_listed(desk: Desk) -> None:
    from CondDiffusionUADLib.run.Application import detect

    desk.ui.detectButton.enabled = True
    nodes = detect(desk.panel.input.volume, contrast="T1")
    desk.settle()
    assert desk.ui.detectionBox.count == 1 and desk.ui.detectButton.enabled
    desk.panel._parameters.heatmap = nodes.heatmap
    desk.settle()
    desk.wait(lambda: desk.panel.findings.live is not None)
    assert desk.panel.findings.live.nodes.heatmap is nodes.heatmap


def test_a_click_beside_a_script_says_why_nothing_happens(desk: Desk) -> None:
    from CondDiffusionUADLib.run.Application import detect

    desk.worker("patient")
    detect(desk.panel.input.volume, contrast="T1", wait=False)
    desk.ui.detectButton.enabled = True
    desk.ui.detectButton.click()
    assert "Another scan is being examined." in desk.message
    desk.panel.logic.cancel()
    desk.wait(lambda: not desk.panel.run.busy)


def test_a_scan_that_moves_away_from_its_result_is_told_and_followed(desk: Desk, mrml: MrmlApplication) -> None:
    desk.detect()
    assert not desk.ui.followButton.visible
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    desk.panel.findings.live.nodes.input.SetAndObserveTransformNodeID(transform.GetID())
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 10)
    transform.SetMatrixTransformToParent(matrix)
    desk.settle()
    assert "moved" in desk.ui.findingsLabel.text and desk.ui.findingsLabel.visible
    before = [finding.centerRas[0] for finding in desk.panel.findings.live.selection.findings]
    desk.ui.followButton.click()
    assert not desk.ui.followButton.visible and not desk.ui.findingsLabel.visible
    after = [finding.centerRas[0] for finding in desk.panel.findings.live.selection.findings]
    assert after == pytest.approx([place + 10 for place in before])
    scan = desk.panel.findings.live.nodes.input
    scan.SetOrigin(*(value + 10 for value in scan.GetOrigin()))
    desk.panel.findings.refresh()
    assert "moved" in desk.ui.findingsLabel.text
    assert not desk.ui.followButton.visible, "no transform brings the result onto another grid"


def test_what_the_scan_seems_to_be_is_asked_about(desk: Desk, mrml: MrmlApplication, scan_file: Path) -> None:
    ui = desk.ui
    assert not ui.contrastDoubt.visible
    for name, words in (("Ax T1 +C", "after contrast agent"), ("T2_tirm_tra", "inversion recovery")):
        ui.inputSelector.setCurrentNode(load_volume(mrml, scan_file, name))
        assert ui.contrastBox.currentText == "Choose..." and ui.contrastHint.text == "please choose"
        assert ui.contrastDoubt.visible and words in ui.contrastDoubt.text
        ui.detectButton.click()
        assert "contrast" in desk.message and not desk.panel.run.busy
    ui.contrastBox.currentIndex = ui.contrastBox.findText("FLAIR")
    assert ui.contrastHint.text == "as you chose"
    ui.inputSelector.setCurrentNode(None)
    assert not ui.contrastDoubt.visible


def test_texts_from_elsewhere_are_shown_as_they_are(
    app: Application, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., float], mrml: MrmlApplication
) -> None:
    from dataclasses import replace

    from CondDiffusionUADLib.panel import InputPanel
    from CondDiffusionUADLib.run.Bundles import installedBundles

    card = "[a](https://a.org) [b](file:///etc/passwd)\n\n![x](file://host/share/x.png)"
    bundles = [replace(bundle, description="<b>bold</b>", card=card) for bundle in installedBundles()]
    monkeypatch.setattr(InputPanel, "installedBundles", lambda: bundles)
    desk = Desk(monkeypatch, wait_until)
    assert desk.ui.bundleBox.toolTip == "&lt;b&gt;bold&lt;/b&gt;"
    import qt

    browser = desk.panel.input._card
    assert browser.loadResource(2, qt.QUrl("file://host/share/x.png")) is None and not browser.openLinks
    opened: list[str] = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    for url in ("https://a.org", "file:///etc/passwd", "smb://host/share", "http://a.org"):
        browser.anchorClicked.emit(qt.QUrl(url))
    assert opened == ["https://a.org"]
    for name, widget in vars(desk.ui).items():
        if isinstance(widget, qt.QLabel) and widget.parent() is not None and not name.startswith("qt_"):
            assert widget.textFormat == qt.Qt.PlainText, name
    desk.widget.cleanup()


def test_a_scene_of_an_earlier_version_opens_with_its_model(desk: Desk, mrml: MrmlApplication, tmp_path: Path) -> None:
    desk.panel._parameters.parameterNode.SetParameter("bundle", "default")
    desk.settle()
    save_scene(mrml, tmp_path / "scene.mrb")
    mrml.scene.Clear(False)
    load_scene(mrml, tmp_path / "scene.mrb")
    desk.wait(lambda: desk.ui.detectButton.enabled)
    assert desk.ui.bundleBox.currentText == "residual" and desk.ui.cardButton.enabled
    assert Path(desk.panel._request()[1].bundle).name == "residual"


def test_a_scene_cannot_bring_a_model_of_its_own(desk: Desk, small_bundle: Path) -> None:
    parameters = desk.panel._parameters.parameterNode
    parameters.SetParameter("bundle", str(small_bundle))
    desk.settle()
    assert "(not installed)" in desk.ui.bundleBox.currentText
    desk.ui.detectButton.click()
    assert "There is no model" in desk.message and not desk.panel.run.busy


def test_a_panel_that_goes_leaves_nothing(
    app: Application, scan: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., float], mrml: Any
) -> None:
    desk = Desk(monkeypatch, wait_until)
    desk.detect()
    node = desk.panel._parameters.parameterNode
    panel, selector = weakref.ref(desk.panel), desk.ui.inputSelector
    desk.widget.cleanup()
    assert desk.panel.Observations == [] and desk.panel.findings.live is None
    selector.setCurrentNode(None)
    mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new_T1")
    desk.settle()
    assert node.GetNodeReference("inputVolume") is scan, "the old list does not write to the scene any more"
    desk.widget.panel = None
    del selector
    monkeypatch.undo()
    desk.settle()
    gc.collect()
    assert panel() is None
