"""The part of the panel that says what is examined: choices are kept, other models are taken, devices are explained."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qt
from desk import Desk
from mrml_application import MrmlApplication, load_volume
from standin.application import Application
from standin.qt_module import show_properties

from conddiffusion_uad.protocol.expected_findings import ExpectedFindings

show_properties(sys.modules[__name__])


@pytest.fixture
def panel(
    scan: Any, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_desk: Callable[..., Desk]
) -> Any:
    """The panel with the small scan, and with the small bundle as an imported model."""
    monkeypatch.setenv("CONDDIFFUSION_UAD_MODELS", str(tmp_path / "models"))
    shutil.copytree(small_bundle, tmp_path / "models" / "small")
    return make_desk(enter=False).panel


def choose(box: Any, value: str) -> None:
    """Choose an entry as a user would."""
    index = box.findData(value)
    assert index >= 0
    box.currentIndex = index


def test_an_imported_model(panel: Any, tmp_path: Path) -> None:
    ui = panel.ui
    choose(ui.bundleBox, "small")
    assert panel._parameters.bundle == "small", "its name, never its folder: scenes are handed on"
    assert [ui.contrastBox.itemText(index) for index in range(ui.contrastBox.count)] == ["Choose...", "T1", "T2"]
    ui.cardButton.click()
    assert "anomaly map residual (T1, T2); reconstruction one_step at noise levels 250, 500" in card(panel)
    _, settings = panel._request()
    assert settings.bundle == str(tmp_path / "models" / "small")


def test_the_models_are_listed_again_only_when_another_one_is_chosen(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    show = panel.input.showBundles
    monkeypatch.setattr(panel.input, "showBundles", lambda: (listed.append(panel._parameters.bundle), show()))
    assert panel._parameters.bundle == "", "the usual one, which is the first in the list"
    panel._parameters.seed = 7
    panel.input.showParameters()
    assert panel.ui.seedBox.value == 7 and listed == []
    for name in ("small", "not there", ""):
        panel._parameters.bundle = name
        panel.input.showParameters()
        panel.input.showParameters()
        assert panel.ui.bundleBox.currentIndex == (panel.ui.bundleBox.findData(name) if name else 0)
    assert listed == ["small", "not there", ""]


def card(panel: Any) -> str:
    """What is read in the model's card."""
    browser = next(child for child in panel.ui.cardArea.findChildren(qt.QTextBrowser))
    assert browser.isVisibleTo(panel.ui.cardArea)
    return browser.plainText


def test_the_card_of_a_shipped_model_names_its_method(panel: Any) -> None:
    panel.ui.cardButton.click()
    assert "Method: anomaly map combined (T1, T2, FLAIR)" in card(panel) and "Intended use" in card(panel)
    choose(panel.ui.bundleBox, "residual")
    assert "Method: anomaly map residual (T1, T2, FLAIR)" in card(panel) and "Intended use" in card(panel)


def test_the_published_map_can_be_chosen_and_promises_what_was_counted_with_it(panel: Any) -> None:
    choose(panel.ui.bundleBox, "published-map")
    counted, holds = panel.input.expected
    stored = json.loads((Path(panel.input.bundleFolder) / "configs" / "expected_findings.json").read_text())
    assert counted == holds == ExpectedFindings.from_json(stored["T1"])
    assert panel.ui.sensitivitySlider.value == pytest.approx(100 * counted.usual_threshold(), abs=1)
    panel.ui.cardButton.click()
    assert "absolute residual, then a median of 5 x 5 x 5" in card(panel)
    assert panel.ui.bundleBox.toolTip.startswith("The published map")
    assert Path(panel._request()[1].bundle).name == "published-map"


def test_choices_become_the_settings_of_the_run(panel: Any) -> None:
    ui = panel.ui
    choose(ui.bundleBox, "small")
    choose(ui.contrastBox, "T2")
    choose(ui.deviceBox, "cpu")
    choose(ui.qualityBox, "fast")
    choose(ui.skullBox, "off")
    ui.seedBox.value = 5
    ui.sensitivitySlider.value = 300
    ui.minVolumeBox.value = 0.25
    assert ui.contrastHint.text == "as you chose"
    volume, settings = panel._request()
    assert volume is panel.input.volume
    assert (settings.contrast, settings.device, settings.skull, settings.seed) == ("T2", "cpu", "off", 5)
    assert settings.levels == (500,) and settings.minVolumeMl == 0.25
    assert settings.healthyFlagged == pytest.approx(0.001)


def test_another_volume_has_another_contrast(panel: Any, mrml: MrmlApplication, scan_file: Path) -> None:
    ui = panel.ui
    assert ui.contrastBox.currentText == "T1"
    flair = load_volume(mrml, scan_file, "sub-01_FLAIR")
    ui.inputSelector.setCurrentNode(flair)
    assert panel._parameters.contrast == "FLAIR" and ui.contrastHint.text == "as the name says"
    unnamed = load_volume(mrml, scan_file, "brain")
    ui.inputSelector.setCurrentNode(unnamed)
    assert panel._parameters.contrast == "" and ui.contrastHint.text == "please choose"
    choose(ui.contrastBox, "T2")
    ui.inputSelector.setCurrentNode(None)
    assert not ui.detectButton.enabled
    ui.inputSelector.setCurrentNode(unnamed)
    assert panel._parameters.contrast == "T2" and ui.contrastHint.text == "as you chose"


def test_scenes_remember_the_choices(panel: Any, small_bundle: Path) -> None:
    ui = panel.ui
    choose(ui.contrastBox, "T2")
    choose(ui.qualityBox, "fast")
    ui.fadeSlider.value = 30
    panel._onSceneChanged()
    assert (ui.contrastBox.currentText, ui.qualityBox.currentText) == ("T2", "Fast")
    assert ui.fadeSlider.value == 30


@pytest.mark.parametrize("shown", [True, False])
def test_a_scan_that_is_loaded_into_the_open_panel_is_chosen(
    app: Application, mrml: MrmlApplication, scan_file: Path, wait_until: Callable[..., float], shown: bool
) -> None:
    from CondDiffusionUAD import CondDiffusionUADWidget

    widget = CondDiffusionUADWidget()
    panel = widget.panel
    if shown:
        widget.parent.show()
    assert panel.input.volume is None and not panel.ui.detectButton.enabled
    scan = load_volume(mrml, scan_file, "ball_T1")
    if shown:
        wait_until(lambda: panel.input.volume is not None, seconds=10)
        assert panel.input.volume is scan and panel.ui.detectButton.enabled
    else:  # the user of another module may load more, and show the one that is meant
        qt.QCoreApplication.processEvents()
        assert panel.input.volume is None
    widget.cleanup()


@pytest.mark.parametrize(
    ("event", "words", "names"),
    [
        (
            {"event": "ready", "torch": "2.13.0", "devices": [{"name": "cpu", "label": "CPU"}]},
            "No NVIDIA graphics card was found (PyTorch 2.13.0)",
            ["CPU"],
        ),
        (
            {
                "event": "devices",
                "torch": "2.13.0",
                "devices": [
                    {"name": "cuda:0", "label": "RTX A4000", "memory_gb": 16.9, "supported": True},
                    {"name": "cpu", "label": "CPU", "memory_gb": None, "supported": True},
                ],
            },
            "PyTorch 2.13.0.",
            ["GPU 0: RTX A4000, 16.9 GB", "CPU"],
        ),
        (
            {
                "event": "devices",
                "torch": "2.2.0",
                "devices": [{"name": "cuda:0", "label": "RTX 5090", "memory_gb": 32.0, "supported": False}],
            },
            "too old for a graphics card",
            ["GPU 0: RTX 5090, 32.0 GB"],
        ),
        ({"event": "error", "code": "torch_broken", "message": "It is broken."}, "It is broken. Repair", []),
        ({"event": "ready", "devices": [{"name": 3}, None, {"label": "CPU"}]}, "by the first detection", []),
    ],
)
def test_what_the_probe_says(app: Application, event: dict[str, Any], words: str, names: list[str]) -> None:
    from CondDiffusionUADLib.run.Readiness import understood

    devices = understood(event)
    assert words in devices.hint
    assert [device.text for device in devices.found] == names


def test_a_device_that_is_no_longer_there_stays_chosen_until_the_engine_refuses(panel: Any) -> None:
    from CondDiffusionUADLib.run.Readiness import Devices, FoundDevice

    panel._parameters.device = "cuda:1"
    panel.input.showDevices(Devices((FoundDevice("cpu", "CPU"),), ""))
    assert panel.ui.deviceBox.currentText == "cuda:1"
