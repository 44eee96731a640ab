"""The wish to know how sure the score is: where it can be had, what becomes of it, and what the views then offer."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from mrml_application import MrmlApplication, save_scene
from standin.qt_module import show_properties

from CondDiffusionUADLib.run.Bundles import FAST, FULL, readBundle

show_properties(sys.modules[__name__])


def choose(box: Any, value: str) -> None:
    """Choose an entry as a user would."""
    index = box.findData(value)
    assert index >= 0, value
    box.currentIndex = index


def bundle_with(small_bundle: Path, folder: Path, restore: dict[str, Any], anomaly_map: dict[str, Any]) -> Any:
    """What the panel reads of a bundle with this method."""
    shutil.copytree(small_bundle, folder)
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["conddiffusion_uad"] |= {"restore": restore, "anomaly_map": {"T1": anomaly_map, "T2": anomaly_map}}
    file.write_text(json.dumps(metadata))
    return readBundle(folder)


@pytest.mark.parametrize(
    ("restore", "kind", "quality", "says"),
    [
        ({"kind": "one_step", "timesteps": [250, 500]}, "residual", FULL, ""),
        ({"kind": "one_step", "timesteps": [250, 500]}, "residual", FAST, "the quality Fast makes 1"),
        ({"kind": "one_pass", "timesteps": [1]}, "residual", FULL, "the model own makes 1"),
        ({"kind": "one_step", "timesteps": [250, 500]}, "mahalanobis", FULL, "takes 3 samples"),
        ({"kind": "repeated", "timesteps": [250], "draws": 10}, "mahalanobis", FULL, ""),
        ({"kind": "repeated", "timesteps": [250], "draws": 10}, "mahalanobis", FAST, ""),
    ],
)
def test_which_models_can_tell_it(
    small_bundle: Path, tmp_path: Path, restore: dict[str, Any], kind: str, quality: str, says: str
) -> None:
    bundle = bundle_with(small_bundle, tmp_path / "own", restore, {"kind": kind})
    told = bundle.whyNoUncertainty(quality, "T1")
    assert says in told if says else told == ""


def test_it_is_off_and_the_wish_goes_into_the_run(desk: Desk) -> None:
    box = desk.ui.uncertaintyBox
    assert box.enabled and not box.checked and "samples of the reconstruction" in box.toolTip
    assert not desk.panel._request()[1].uncertainty
    box.click()
    settings = desk.panel._request()[1]
    assert settings.uncertainty and settings.job(Path("scan.nrrd"), Path("out")).uncertainty
    assert desk.panel._parameters.uncertainty


def test_where_it_cannot_be_had_the_tool_tip_says_why_and_the_wish_is_kept(desk: Desk) -> None:
    ui = desk.ui
    ui.uncertaintyBox.click()
    choose(ui.qualityBox, FAST)
    assert not ui.uncertaintyBox.enabled and not ui.uncertaintyBox.checked
    assert "the quality Fast makes 1" in ui.uncertaintyBox.toolTip
    assert not desk.panel._request()[1].uncertainty and desk.panel._parameters.uncertainty
    choose(ui.qualityBox, FULL)
    assert ui.uncertaintyBox.enabled and ui.uncertaintyBox.checked and desk.panel._request()[1].uncertainty


def test_a_model_that_makes_one_sample(
    scan: Any, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_desk: Callable[..., Desk]
) -> None:
    monkeypatch.setenv("CONDDIFFUSION_UAD_MODELS", str(tmp_path / "models"))
    bundle_with(small_bundle, tmp_path / "models" / "own", {"kind": "one_pass", "timesteps": [1]}, {"kind": "residual"})
    desk = make_desk(enter=False)
    choose(desk.ui.bundleBox, "own")
    assert not desk.ui.uncertaintyBox.enabled and "the model own makes 1" in desk.ui.uncertaintyBox.toolTip
    choose(desk.ui.bundleBox, "learned")
    assert desk.ui.uncertaintyBox.enabled


def test_the_views_offer_it_where_it_is_there(desk: Desk, mrml: MrmlApplication, tmp_path: Path) -> None:
    ui = desk.ui
    desk.detect()
    assert "Scan with uncertainty" not in desk.texts(ui.compareBox)
    ui.uncertaintyBox.checked = True
    desk.detect()
    nodes = desk.panel.results.nodes
    assert nodes.uncertainty is not None and json.loads(nodes.report.GetText())["parameters"]["uncertainty"]
    assert ui.compareBox.currentText == "Scan with heatmap", "what a reader first wants to see"
    choose(ui.compareBox, "uncertainty")
    desk.settle()
    assert desk.panel._parameters.comparison == "uncertainty"
    assert ui.heatmapBox.checked and ui.heatmapBox.text == "Uncertainty", "what the box takes off the scan"
    ui.detectionBox.currentIndex = 0  # the first result, which has none
    desk.settle()
    assert ui.compareBox.currentText == "Scan with heatmap" and ui.heatmapBox.text == "Heatmap"
    assert "Scan with uncertainty" not in desk.texts(ui.compareBox)
    ui.detectionBox.currentIndex = 1
    choose(ui.compareBox, "uncertainty")
    save_scene(mrml, tmp_path / "scene.mrb")
    mrml.scene.Clear(False)
    assert mrml.scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    desk.settle()
    assert desk.panel.results.nodes.uncertainty is not None and ui.uncertaintyBox.checked
    assert ui.compareBox.currentText == "Scan with uncertainty"


def test_a_deleted_one_is_no_problem(desk: Desk, mrml: MrmlApplication) -> None:
    desk.ui.uncertaintyBox.checked = True
    desk.detect()
    choose(desk.ui.compareBox, "uncertainty")
    mrml.scene.RemoveNode(desk.panel.results.nodes.uncertainty)
    desk.settle()
    assert desk.panel.results.nodes.uncertainty is None
    assert desk.ui.compareBox.currentText == "Scan with heatmap"
