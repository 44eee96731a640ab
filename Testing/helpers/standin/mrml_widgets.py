"""The widgets of Slicer's qMRML library that the panel uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import shiboken6
import slicer
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QPushButton, QWidget


class qMRMLWidget(QWidget):  # noqa: N801 (Slicer's name)
    """A widget that knows the scene."""

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        self._scene = scene


class NodeFilter:
    """What `sortFilterProxyModel` gives: nodes that are not listed, by their IDs; nothing else can be set.

    Args:
        changed: Called when other nodes are hidden.
    """

    __slots__ = ("_changed", "_hidden")

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._hidden: tuple[str, ...] = ()

    @property
    def hiddenNodeIDs(self) -> tuple[str, ...]:
        """The IDs."""
        return self._hidden

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, identifiers: list[str] | tuple[str, ...]) -> None:
        self._hidden = tuple(identifiers)
        self._changed()


class qMRMLNodeComboBox(QComboBox):  # noqa: N801 (Slicer's name)
    """Lists the nodes of some classes; when the chosen one is deleted, it chooses another, as Slicer's does."""

    _changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._tags: list[int] = []
        self._types: list[str] = []
        self._children = True
        self._none = False
        self._filter = NodeFilter(self._fill)
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

    def sortFilterProxyModel(self) -> NodeFilter:
        """What decides which nodes are listed."""
        return self._filter

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        identifier = self.itemData(self.currentIndex())
        return self._scene.GetNodeByID(identifier) if self._scene and identifier else None

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node, or None."""
        self.setCurrentIndex(self.findData(node.GetID() if node else ""))
        self._last = self.itemData(self.currentIndex())  # not told later, though signals may be blocked now

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
        for node in self._listed():
            self.addItem(node.GetName() or "", node.GetID())
        self._filling = False
        index = self.findData(chosen) if chosen else -1
        fallback = self.count() - 1 if chosen else min(0, self.count() - 1)
        self.setCurrentIndex(index if index >= 0 else fallback)
        self._tell()

    def _listed(self) -> Iterator[Any]:
        for kind in self._types:
            for index in range(self._scene.GetNumberOfNodesByClass(kind)):
                node = self._scene.GetNthNodeByClass(index, kind)
                hidden = node.GetHideFromEditors() or node.GetID() in self._filter.hiddenNodeIDs
                if not hidden and (self._children or node.GetClassName() == kind):
                    yield node

    def _tell(self, *_: Any) -> None:
        chosen = self.itemData(self.currentIndex())
        if not self._filling and chosen != self._last:
            self._last = chosen
            self._changed.emit(self.currentNode())


class qMRMLSegmentationShow3DButton(QPushButton):  # noqa: N801 (Slicer's name)
    """Shows the surfaces of a segmentation, made when they are needed, in the 3D views."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Show 3D", parent)
        self._segmentation: Any = None
        self.setCheckable(True)
        self.toggled.connect(self._show)

    def segmentationNode(self) -> Any:
        """The segmentation, or None."""
        return self._segmentation

    def setSegmentationNode(self, node: Any) -> None:
        """Show whether the surfaces of this segmentation (None: of none) are shown, and let the button change that."""
        self._segmentation = None
        name = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
        shown = node is not None and node.GetDisplayNode() is not None and bool(node.GetDisplayNode().GetVisibility3D())
        self.setEnabled(node is not None)
        self.setChecked(shown and node.GetSegmentation().ContainsRepresentation(name))
        self._segmentation = node

    def _show(self, shown: bool) -> None:
        if self._segmentation is None:
            return
        if shown:
            self._segmentation.CreateClosedSurfaceRepresentation()
        else:
            self._segmentation.RemoveClosedSurfaceRepresentation()
        self._segmentation.GetDisplayNode().SetVisibility3D(shown)
