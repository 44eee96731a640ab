"""Asks before Slicer is closed while something is under way whose result would be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Consent import askToQuit


class QuitGuard:
    """Asks when the main window is to be closed, before Slicer asks about the scene.

    Slicer has no hook for this in Python, but every way by which a user ends it closes its main window first. Scripts
    that end it (`slicer.util.exit`) are not asked, nor is anybody in Slicer's tests.

    Args:
        unfinished: Tells in a sentence what is under way; empty for nothing.
    """

    def __init__(self, unfinished: Callable[[], str]) -> None:
        self._window = slicer.util.mainWindow()
        self._filter = _CloseFilter(lambda: self._mayClose(unfinished()))
        if self._window is not None:
            self._window.installEventFilter(self._filter)
            slicer.app.connect("aboutToQuit()", self.remove)

    def remove(self) -> None:
        """Ask no more: the panel goes, or the window does."""
        window, self._window = self._window, None
        if window is not None:
            window.removeEventFilter(self._filter)
            slicer.app.disconnect("aboutToQuit()", self.remove)

    def _mayClose(self, unfinished: str) -> bool:
        if not unfinished or slicer.app.testingEnabled():
            return True
        return askToQuit(_("{unfinished} Quit Slicer all the same?").format(unfinished=unfinished), self._window)


class _CloseFilter(qt.QObject):
    """Sees the events of a window, and takes those that would close it away when it may not be closed."""

    def __init__(self, mayClose: Callable[[], bool]) -> None:
        super().__init__()
        self._mayClose = mayClose

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt; whether the event goes no further."""
        if event.type() != qt.QEvent.Close or self._mayClose():
            return False
        event.ignore()
        return True
