"""A window with the one-page overview of a result, and a button to save it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Widgets import plainLabel

_SHARE = 0.95  # of the width of Slicer's window, at most
_BESIDE = 60  # pixels that the frame and the margins take


class OverviewWindow:
    """Shows a page; one at a time.

    Args:
        parent: Widget whose window it belongs to.
        save: Called when the user wants to save the page, with the page (PNG).
    """

    def __init__(self, parent: Any, save: Callable[[bytes], None]) -> None:
        self._parent = parent
        self._save = save
        self.dialog: Any = None

    def show(self, title: str, picture: bytes) -> None:
        """Show a page (PNG)."""
        self.close()
        page = qt.QPixmap()
        page.loadFromData(qt.QByteArray(picture))
        width = min(page.width(), round(_SHARE * self._parent.window().width) - _BESIDE)
        image = qt.QLabel()
        image.pixmap = page.scaledToWidth(max(width, 1), qt.Qt.SmoothTransformation)
        save = qt.QPushButton(_("Save..."))
        save.clicked.connect(lambda *_checked: self._save(picture))
        self.dialog = qt.QDialog(self._parent.window())
        self.dialog.windowTitle = _("Overview")
        layout = qt.QVBoxLayout(self.dialog)
        for widget in (plainLabel(title), image, save):
            layout.addWidget(widget)
        self.dialog.show()

    def close(self) -> None:
        """Close it."""
        if self.dialog is not None:
            self.dialog.hide()
            self.dialog.deleteLater()
            self.dialog = None
