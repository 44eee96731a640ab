"""Combo boxes that hold a value beside each text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def fill(box: Any, entries: Iterable[tuple[str, str]], value: str) -> None:
    """Replace the entries (text, value) and choose one, without telling anybody."""
    blocked = box.blockSignals(True)
    box.clear()
    for text, data in entries:
        box.addItem(text, data)
    box.currentIndex = max(0, box.findData(value))
    box.blockSignals(blocked)


def chosen(box: Any) -> str:
    """The value of the chosen entry; empty when there is none."""
    return str(box.itemData(box.currentIndex) or "")


def choose(box: Any, value: str) -> None:
    """Choose the entry with a value, if there is one, without telling anybody."""
    index = box.findData(value)
    if index >= 0:
        blocked = box.blockSignals(True)
        box.currentIndex = index
        box.blockSignals(blocked)
