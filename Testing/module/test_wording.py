"""What the panel says: plain sentences in its own words, whatever the engine or a scene says."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from PySide6 import QtWidgets
from standin import ctk_module, mrml_widgets
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

ROOT = Path(__file__).resolve().parents[2]
PANEL = ROOT / "Resources" / "UI" / "CondDiffusionUAD.ui"
LIBRARY = ROOT / "CondDiffusionUAD" / "CondDiffusionUADLib" / "panel"
METHODS = {"text", "checked", "value"}  # names that items of tables have as methods


def widget_class(name: str) -> Any:
    for module in (QtWidgets, ctk_module, mrml_widgets):
        if hasattr(module, name):
            return getattr(module, name)
    raise AssertionError(name)


def test_labels_show_texts_as_they_are() -> None:
    for widget in ElementTree.parse(PANEL).iter("widget"):
        if widget.get("class") == "QLabel":
            kind = widget.find("property[@name='textFormat']/enum")
            assert kind is not None and kind.text == "Qt::PlainText", widget.get("name")


def test_only_properties_that_the_widgets_have_are_set() -> None:
    """PySide takes any attribute; PythonQt raises AttributeError for one that a widget does not have."""
    classes = {widget.get("name"): widget.get("class") for widget in ElementTree.parse(PANEL).iter("widget")}
    source = "".join(path.read_text(encoding="utf-8") for path in LIBRARY.glob("*.py"))
    found = set(re.findall(r"\bui\.(\w+)\.(\w+) = ", source))
    assert len(found) > 20
    for name, attribute in found:
        meta = widget_class(str(classes[name])).staticMetaObject
        assert meta.indexOfProperty(attribute) >= 0, f"{classes[name]} {name} has no property {attribute}"


def test_slots_of_the_panel_are_connected_to_signals_that_exist() -> None:
    classes = {widget.get("name"): widget.get("class") for widget in ElementTree.parse(PANEL).iter("widget")}
    source = "".join(path.read_text(encoding="utf-8") for path in LIBRARY.glob("*.py"))
    for name, signal in set(re.findall(r"\bui\.(\w+)\.(\w+)\.connect\(", source)):
        assert hasattr(widget_class(str(classes[name])), signal), f"{name}.{signal}"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            {"code": "bad_option", "message": "--contrast cannot be 'FOO'.", "hint": "Accepted: T1."},
            "contrast cannot be",
        ),
        ({"code": "x", "message": "It does.", "hint": "Use --min-volume-ml."}, "It does."),
        ({"code": "out_of_memory", "message": "It is full.", "hint": "--device cpu"}, "choose the device CPU"),
    ],
)
def test_words_of_the_command_line_are_not_said(app: Application, event: dict[str, str], said: str) -> None:
    from CondDiffusionUADLib.run.Problems import fromEvent

    text = fromEvent(event).text
    assert said in text and "--" not in text
