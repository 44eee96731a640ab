"""The widgets of Slicer's qMRML library that the panel uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import shiboken6
import slicer
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QWidget


class qMRMLWidget(QWidget):  # noqa: N801 (Slicer's name)
    """A widget that knows the scene."""

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        self._scene = scene


class HiddenNodes:
    """As much of Slicer's qMRMLSortFilterProxyModel as hides nodes.

    Args:
        changed: Called when others are hidden.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._ids: tuple[str, ...] = ()

    @property
    def hiddenNodeIDs(self) -> tuple[str, ...]:
        """IDs of nodes that are not listed."""
        return self._ids

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, ids: Any) -> None:
        self._ids = tuple(ids)
        self._changed()


class qMRMLNodeComboBox(QComboBox):  # noqa: N801 (Slicer's name)
    """Lists the nodes of some classes."""

    _changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._tags: list[int] = []
        self._types: list[str] = []
        self._children = True  # Slicer's own default: nodes of derived classes are listed too
        self._none = False
        self._hidden = HiddenNodes(self._fill)
        self._filling = False
        self._last: str | None = None
        self.currentIndexChanged.connect(self._tell)

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._fill()

    def _set_none(self, enabled: bool) -> None:
        self._none = enabled
        self._fill()

    def _set_children(self, shown: bool) -> None:
        self._children = shown
        self._fill()

    showChildNodeTypes = Property(bool, lambda self: self._children, _set_children)
    nodeTypes = Property("QStringList", lambda self: tuple(self._types), _set_types)
    noneEnabled = Property(bool, lambda self: self._none, _set_none)
    addEnabled = Property(bool, lambda self: False, lambda self, value: None)
    removeEnabled = Property(bool, lambda self: False, lambda self, value: None)
    currentNodeID = Property(str, lambda self: self.itemData(self.currentIndex()) or "")

    def setMRMLScene(self, scene: Any) -> None:
        """List the nodes of this scene from now on."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.NodeRemovedEvent)
        self._tags = [scene.AddObserver(event, lambda *_: self._fill()) for event in events] if scene else []
        self._fill()

    def sortFilterProxyModel(self) -> HiddenNodes:
        """What decides which nodes are listed."""
        return self._hidden

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        identifier = self.itemData(self.currentIndex())
        return self._scene.GetNodeByID(identifier) if self._scene and identifier else None

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node, or None."""
        self.setCurrentIndex(self.findData(node.GetID() if node else ""))

    def connect(self, signature: str, slot: Callable[..., None]) -> bool:  # type: ignore[override]
        """Connect a signal by its signature; like PythonQt, say False to one that does not exist."""
        if signature != "currentNodeChanged(vtkMRMLNode*)":
            return False
        self._changed.connect(slot)
        return True

    def _fill(self) -> None:
        # Observers outlive the widget's C++ side when the panel is thrown away.
        if not shiboken6.isValid(self) or self._scene is None:
            return
        chosen = self.itemData(self.currentIndex())
        self._filling = True
        self.clear()
        if self._none:
            self.addItem("None", "")
        for kind in self._types:
            for index in range(self._scene.GetNumberOfNodesByClass(kind)):
                node = self._scene.GetNthNodeByClass(index, kind)
                listed = self._children or node.GetClassName() == kind
                if listed and not node.GetHideFromEditors() and node.GetID() not in self._hidden.hiddenNodeIDs:
                    self.addItem(node.GetName() or "", node.GetID())
        self._filling = False
        index = self.findData(chosen) if chosen else -1
        self.setCurrentIndex(index if index >= 0 else min(0, self.count() - 1))
        self._tell()

    def _tell(self, *_: Any) -> None:
        chosen = self.itemData(self.currentIndex())
        if not self._filling and chosen != self._last:
            self._last = chosen
            self._changed.emit(self.currentNode())
