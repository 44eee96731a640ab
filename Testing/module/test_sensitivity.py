"""What the sensitivity slider promises: false findings in a healthy brain where they were counted, else a share."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from standin.application import Application
from standin.qt_module import show_properties

from conddiffusion_uad.protocol.expected_findings import USUAL, ExpectedFindings
from conddiffusion_uad.protocol.job import USUAL_BUNDLE

show_properties(sys.modules[__name__])

COUNTED = ExpectedFindings((1.5, 2.0, 2.5, 3.0, 3.8), (28.0, 6.0, 1.0, 0.3, 0.0), 40, 0.05, (1.0, 2.5, 3.6, 3.9))
TOLD = {**COUNTED.to_json(), "healthy_as_large": 0.25}  # as a report tells it of a scan that was scored alike


@pytest.mark.parametrize(
    ("threshold", "says"),
    [
        (1.2, "28 false findings or more in a healthy brain"),
        (1.6, "about 28 false findings in a healthy brain"),
        (2.4, "about 6 false findings in a healthy brain"),
        (2.5, "about 1 false finding in a healthy brain"),
        (3.2, "about 0.3 false findings in a healthy brain"),
        (4.0, "fewer than 0.03 false findings in a healthy brain"),
    ],
)
def test_a_threshold_in_false_findings(app: Application, threshold: float, says: str) -> None:
    from CondDiffusionUADLib.panel import Sensitivity

    assert Sensitivity.falseFindings(COUNTED, threshold, 0.05) == says
    assert Sensitivity.falseFindings(COUNTED, threshold, 0.04) == "", "nobody counted findings as small"
    assert Sensitivity.falseFindings(None, threshold, 0.05) == ""


def test_the_usual_threshold_lies_within_the_slider(app: Application) -> None:
    from CondDiffusionUADLib.panel.Sensitivity import usualThreshold

    assert usualThreshold(COUNTED) == 3.0
    assert usualThreshold(ExpectedFindings((0.5, 3.0), (0.4, 0.1), 5)) == 1.0
    assert usualThreshold(ExpectedFindings((2.0, 6.0), (9.0, 0.5), 5)) == 6.0
    assert usualThreshold(ExpectedFindings((2.0, 60.0), (9.0, 0.5), 5)) == 10.0
    assert usualThreshold(ExpectedFindings((2.0, 3.0, 4.0), (9.0, 7.0, 7.0), 5)) == 3.0, "the least that is promised"


@pytest.mark.parametrize(
    ("largest", "says"),
    [
        (3.7, "The largest score is 3.7; 25 % of 40 healthy scans have one as large."),
        (9.0, "The largest score is 9.0, and none of 40 healthy scans has one as large."),
    ],
)
def test_how_usual_the_largest_score_is(app: Application, largest: float, says: str) -> None:
    from CondDiffusionUADLib.panel.Sensitivity import howUsual

    assert howUsual(COUNTED, largest) == says
    assert howUsual(None, 3.7) == "The largest score is 3.7."
    assert howUsual(ExpectedFindings((2.0,), (0.0,), 3), 3.7) == "The largest score is 3.7."


def test_the_bound_reckons_with_brains_and_is_told_only_where_it_says_anything(app: Application) -> None:
    from CondDiffusionUADLib.panel.Sensitivity import explained

    of_six = replace(COUNTED, scans=18, brains=6)
    assert "18 healthy scans of 6 brains" in explained(of_six, 2.5)
    assert "at most 2.3 on average" in explained(of_six, 2.5) and "more than 10 in one scan as 10" in explained(
        of_six, 2.5
    )
    assert "at most 1.4 on average" in explained(of_six, 3.9), "the least that six brains can promise: 10 / 7"
    for threshold in (1.2, 1.6):  # below what was counted; more than ten
        assert "on average" not in explained(of_six, threshold)


@pytest.mark.parametrize("report", ["", "{", "[]", "{}", '{"expected_findings": null}', '{"expected_findings": {}}'])
def test_a_report_without_such_numbers_promises_nothing(app: Application, report: str) -> None:
    from CondDiffusionUADLib.panel.Sensitivity import expectedIn

    assert expectedIn(report) == (None, None)


def test_a_report_of_another_score_than_the_counted_one_promises_nothing(app: Application) -> None:
    from CondDiffusionUADLib.panel.Sensitivity import expectedIn

    without_prior = {**COUNTED.to_json(), "at_threshold": None, "bound": None, "healthy_as_large": None}
    assert expectedIn(json.dumps({"expected_findings": without_prior})) == (COUNTED, None)
    as_counted = {**without_prior, "healthy_as_large": 0.25}
    assert expectedIn(json.dumps({"expected_findings": as_counted})) == (COUNTED, COUNTED)
    other_levels = {"expected_findings": as_counted, "warnings": [{"code": "other_levels"}]}
    assert expectedIn(json.dumps(other_levels)) == (COUNTED, None)


def test_the_slider_promises_what_the_report_tells(desk: Desk) -> None:
    ui = desk.ui
    desk.detect("several")
    assert not ui.expectedLabel.visible and ui.sensitivityLabel.text == "1 % flagged"
    desk.detect("several", json.dumps({"expected_findings": TOLD}))
    assert ui.expectedLabel.visible and ui.expectedLabel.text == "about 6 false findings in a healthy brain"
    assert ui.sensitivityLabel.text == ""
    ui.sensitivitySlider.value = 250
    assert ui.expectedLabel.text == "about 1 false finding in a healthy brain"
    assert "0.32 % of healthy tissue" in ui.expectedLabel.toolTip
    assert "40 healthy scans of 40 brains" in ui.expectedLabel.toolTip
    assert "has at most 1.2 on average" in ui.expectedLabel.toolTip, "(40 x 1 + 10) / 41"
    ui.minVolumeBox.value = 0.01
    assert not ui.expectedLabel.visible and ui.sensitivityLabel.text == "0.32 % flagged"
    ui.minVolumeBox.value = 90
    assert ui.findingsLabel.text.startswith("The largest score is 30.0, and none of 40 healthy scans has one as large.")
    heatmaps = [desk.ui.detectionBox.itemData(index) for index in range(2)]
    ui.detectionBox.currentIndex = 0
    desk.wait(lambda: desk.panel.findings.live is not None)
    assert heatmaps[0] != heatmaps[1] and not ui.expectedLabel.visible, "the other result knows nothing"


def test_a_panel_that_opens_over_a_scan_begins_where_the_usual_model_promises_the_usual(desk: Desk) -> None:
    ui, (expected, _) = desk.ui, desk.panel.input.expected
    assert ui.bundleBox.currentText == USUAL_BUNDLE and expected is not None
    assert ui.sensitivitySlider.value == pytest.approx(100 * expected.threshold(USUAL), abs=1)
    assert ui.expectedLabel.visible and "in a healthy brain" in ui.expectedLabel.text
    assert desk.panel._request()[1].healthyFlagged == pytest.approx(10 ** -(ui.sensitivitySlider.value / 100))


def test_before_a_detection_the_slider_stands_where_the_model_promises_the_usual(
    desk: Desk, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDDIFFUSION_UAD_MODELS", str(tmp_path))
    folder = Path(shutil.copytree(small_bundle, tmp_path / "counted"))
    (folder / "configs" / "expected_findings.json").write_text(json.dumps({"T1": COUNTED.to_json()}))
    ui: Any = desk.ui
    desk.panel.input.showBundles()
    choose: Callable[[Any, str], None] = lambda box, value: setattr(box, "currentIndex", box.findData(value))  # noqa: E731
    choose(ui.bundleBox, "residual")
    assert ui.sensitivitySlider.value == 200 and ui.sensitivityLabel.text == "1 % flagged", "it promises nothing"
    choose(ui.bundleBox, "counted")
    assert ui.sensitivitySlider.value == 300
    assert ui.expectedLabel.text == "about 0.3 false findings in a healthy brain"
    choose(ui.contrastBox, "T2")
    assert ui.sensitivityLabel.text == "1 % flagged" and not ui.expectedLabel.visible
    ui.sensitivitySlider.value = 250
    choose(ui.contrastBox, "T1")
    assert ui.sensitivitySlider.value == 250, "the user chose it"
    assert ui.expectedLabel.text == "about 1 false finding in a healthy brain"
    assert desk.panel._request()[1].healthyFlagged == pytest.approx(10**-2.5)


def test_where_findings_were_counted_otherwise_nothing_is_promised(desk: Desk) -> None:
    """With the quality Fast the usual model scores with other noise levels than it was counted with."""
    ui = desk.ui
    begins = ui.sensitivitySlider.value
    assert ui.expectedLabel.visible
    ui.qualityBox.currentIndex = ui.qualityBox.findData("fast")
    assert not ui.expectedLabel.visible and "flagged" in ui.sensitivityLabel.text
    assert "counted" not in ui.expectedLabel.toolTip
    assert ui.sensitivitySlider.value == begins, "what is usual for the model is still the best guess"
    ui.qualityBox.currentIndex = ui.qualityBox.findData("full")
    assert ui.expectedLabel.visible
    warnings = [{"code": "other_levels", "message": "", "hint": ""}]
    desk.detect("several", json.dumps({"expected_findings": COUNTED.to_json(), "warnings": warnings}))
    assert not ui.expectedLabel.visible and ui.sensitivityLabel.text == "1 % flagged"
    ui.minVolumeBox.value = 90
    assert ui.findingsLabel.text.startswith("The largest score is 30.0. ")


def test_the_slider_reaches_as_far_as_the_numbers_of_the_report(desk: Desk) -> None:
    far = ExpectedFindings((2.0, 4.604, 7.2236), (9.0, 0.1, 0.0), 8, 0.05)
    slider = desk.ui.sensitivitySlider
    desk.panel.findings.offer(None, None)
    assert slider.maximum == 600
    desk.detect("several", json.dumps({"expected_findings": {**far.to_json(), "healthy_as_large": 0.5}}))
    assert slider.maximum == 723
    slider.value = 461
    live = desk.panel.findings.live
    assert live is not None and live.threshold == 4.61
    assert desk.ui.expectedLabel.text == "about 0.1 false findings in a healthy brain"
    assert live.nodes.heatmap.GetDisplayNode().GetWindowLevelMax() == 6.0, "the colors keep their scale"
    desk.panel.findings.refresh()
    assert slider.value == 461, "the threshold is kept"
    desk.panel.findings.offer(None, None)
    desk.detect("several")
    assert slider.maximum == 600 and slider.value == 200, "the other result knows nothing"


def test_the_slider_stands_where_no_more_is_promised_than_asked_for(desk: Desk) -> None:
    counted = ExpectedFindings((2.0, 2.6, 2.603, 4.9), (9.0, 0.9, 0.5, 0.0), 8, 0.05)
    desk.panel.findings.offer(counted, counted)
    assert desk.ui.sensitivitySlider.value == 261 and desk.ui.sensitivitySlider.maximum == 600
    assert desk.ui.expectedLabel.text == "about 0.5 false findings in a healthy brain"
