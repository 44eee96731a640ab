"""What of the panel is seen without scrolling: Slicer shows it in a scroll area, as high as Data Probe lets it be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

from CondDiffusionUADLib.run.Steps import timer


def roomBelow(widget: Any) -> int | None:
    """Pixels from a widget's upper edge to where the panel ends when it is scrolled to its beginning.

    Returns:
        The pixels, fewer than none for a widget that begins below; None where nothing scrolls.
    """
    area = _scrollArea(widget)
    return int(area.viewport().height - _top(widget, area.widget())) if area is not None else None


def layOut() -> None:
    """Give every widget its place now, where its text or its neighbors have changed."""
    qt.QCoreApplication.sendPostedEvents(None, int(qt.QEvent.LayoutRequest))


class Sight:
    """Scrolls the panel when what is needed next cannot be seen: from its beginning on, no farther than it takes.

    Args:
        needed: Widgets of the panel; those that are shown have to be seen.
        beside: Belong to them, and are seen as well, where there is room, once the panel has to be scrolled.
    """

    def __init__(self, needed: Sequence[Any], beside: Sequence[Any] = ()) -> None:
        self._needed = needed
        self._beside = beside
        self._all = False
        self._later = timer(self._look)

    def ask(self, *, beside: bool = False) -> None:
        """Look a moment later, when nothing more changes.

        Args:
            beside: Whether what belongs to the widgets has to be seen too; not while the mouse is pressed on them.
        """
        self._all = self._all or beside
        self._later.start(0)

    def stop(self) -> None:
        """The panel goes."""
        self._later.stop()

    def _look(self) -> None:
        self._later.stop()
        layOut()
        area = _scrollArea(self._needed[0])
        needed, self._all = (*self._beside, *self._needed) if self._all else self._needed, False
        if area is None or all(_isSeen(widget, area) for widget in needed if widget.visible):
            return
        area.verticalScrollBar().value = 0
        for widget in (*self._beside, *self._needed):
            if widget.visible:
                top = _top(widget, area.widget())  # all of it: `ensureWidgetVisible` is content with a row of a table
                area.ensureVisible(0, top + int(widget.height), 0, 0)
                area.ensureVisible(0, top, 0, 0)


def _scrollArea(widget: Any) -> Any:
    parent = widget.parent()
    while parent is not None and not parent.inherits("QScrollArea"):
        parent = parent.parent()
    return parent


def _top(widget: Any, ancestor: Any) -> int:
    return int(widget.mapTo(ancestor, qt.QPoint(0, 0)).y())


def _isSeen(widget: Any, area: Any) -> bool:
    viewport = area.viewport()
    top = _top(widget, viewport)
    return top >= 0 and top + int(widget.height) <= int(viewport.height)
