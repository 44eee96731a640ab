"""Small things that several parts of the panel do with Qt's widgets, and the keys."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import qt
from slicer.i18n import tr as _

SAFE_SCHEME = "https"


@contextmanager
def quiet(widget: Any) -> Iterator[None]:
    """Change a widget without telling anybody."""
    blocked = widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(blocked)


def fill(box: Any, entries: Iterable[tuple[str, str]], value: str) -> None:
    """Replace the entries (text, value) of a combo box and choose one, without telling anybody."""
    with quiet(box):
        box.clear()
        for text, data in entries:
            box.addItem(text, data)
        box.currentIndex = max(0, box.findData(value))


def chosen(box: Any) -> str:
    """The value of the chosen entry; empty when there is none."""
    return str(box.itemData(box.currentIndex) or "")


def choose(box: Any, value: str) -> None:
    """Choose the entry with a value, if there is one, without telling anybody."""
    index = box.findData(value)
    if index >= 0:
        with quiet(box):
            box.currentIndex = index


def setQuietly(widget: Any, name: str, value: Any) -> None:
    """Set a property of a widget without telling anybody."""
    with quiet(widget):
        setattr(widget, name, value)


def toolTipText(text: str) -> str:
    """A text from elsewhere for a tool tip, which would take tags in it for formatting."""
    return html.escape(text)


def plainLabel(text: str) -> Any:
    """A label that shows a text as it is, whatever tags are in it."""
    label = qt.QLabel()
    label.textFormat = qt.Qt.PlainText
    label.text = text
    return label


class CardBrowser(qt.QTextBrowser):
    """Shows a model card, whoever wrote it: it loads nothing, and only opens https links that are clicked."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.openLinks = False
        self.anchorClicked.connect(openLink)

    def loadResource(self, kind: int, url: Any) -> Any:
        """Pictures and styles a card refers to are not fetched: from nowhere."""
        return None


def openLink(url: Any) -> None:
    """Open a link in the browser of the desktop, if it is one to a web page."""
    if url.scheme() == SAFE_SCHEME:
        qt.QDesktopServices.openUrl(url)


# Free in Slicer's slice views, where R, F, B, V, G and T have a meaning already.
KEYS = (
    ("nextButton", "N"),
    ("previousButton", "P"),
    ("acceptButton", "A"),
    ("rejectButton", "X"),
    ("reopenButton", "U"),
    ("undoButton", "Ctrl+Z"),
    ("redoButton", "Ctrl+Y"),
    ("heatmapBox", "H"),
    ("flickerButton", "C"),
)
_WRITING = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox")


class Keys:
    """The keys of the panel.

    A shortcut of a widget is dead while the widget is hidden or its window is not the active one. So these belong to
    the panel, and other modules and dialogs keep their keys.

    Args:
        ui: The widgets of the panel by name.
        panel: The panel.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self._shortcuts = [self._connect(getattr(ui, name), key, panel) for name, key in KEYS]
        ui.keysLabel.text = _("Keys: N/P next, A/X/U decide, H heatmap, C compare")

    def close(self) -> None:
        """The panel goes."""
        for shortcut in self._shortcuts:
            shortcut.enabled = False
        self._shortcuts = []

    def _connect(self, button: Any, key: str, panel: Any) -> Any:
        shortcut = qt.QShortcut(qt.QKeySequence(key), panel)
        shortcut.activated.connect(lambda: press(button))
        shortcut.activatedAmbiguously.connect(lambda: press(button))
        button.toolTip = _("{text} Key: {key}").format(text=button.toolTip, key=key)
        return shortcut


def press(button: Any) -> None:
    """Press a button, unless somebody is writing; a disabled one does nothing."""
    focus = qt.QApplication.focusWidget()
    writing = focus is not None and any(focus.inherits(name) for name in _WRITING)
    if not writing or (hasattr(focus, "readOnly") and focus.readOnly):
        button.click()
