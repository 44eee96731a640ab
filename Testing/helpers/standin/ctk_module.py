"""The module `ctk`: the one widget of CTK that the panel uses."""

from __future__ import annotations

import types

from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QStyle, QStyleOptionButton, QWidget

_HEADER = 26


class ctkCollapsibleButton(QWidget):  # noqa: N801 (CTK's name)
    """A titled section that can be folded."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self._folded: list[QWidget] = []  # were shown, and will be again: what is hidden for itself stays so
        self.setContentsMargins(0, _HEADER, 0, 0)

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        if collapsed:
            self._folded = [child for child in self.children() if isinstance(child, QWidget) and not child.isHidden()]
        for child in self._folded:
            child.setVisible(not collapsed)
        self.setMaximumHeight(_HEADER if collapsed else 16777215)
        self.contentsCollapsed.emit(self._collapsed)

    text = Property(str, lambda self: self._text, _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Fold and unfold."""
        if event.position().y() < _HEADER:
            self._set_collapsed(not self._collapsed)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the title."""
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(_HEADER - 2)
        painter = QPainter(self)
        self.style().drawControl(QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        arrow = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(option.rect.adjusted(8, 0, -8, 0), Qt.AlignmentFlag.AlignVCenter, f"{arrow} {self._text}")


def make_module() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("ctk")
    module.ctkCollapsibleButton = ctkCollapsibleButton  # type: ignore[attr-defined]
    return module
