"""Keys for reading: each presses a button of the panel, while the panel is seen and nobody is writing."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

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
