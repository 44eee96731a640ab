"""Slice views that stand beside each other and look at the same place, and the way back to how they stood."""

from __future__ import annotations

import math
from typing import Any

import slicer

from CondDiffusionUADLib.scene.ViewsState import ViewsState, layoutOf, look, put, seenOf, sliceViews

_NAMES = ("Red", "Yellow", "Green")  # from left to right
_ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}  # of Slicer's ordinary views
_THREE_UP = 27182  # above the numbers that Slicer and its extensions use
_LAYOUTS = {2: slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView, 3: _THREE_UP}
_THREE_UP_XML = (
    '<layout type="horizontal">'
    + "".join(f'<item><view class="vtkMRMLSliceNode" singletontag="{name}"/></item>' for name in _NAMES)
    + "</layout>"
)


class SideBySide:
    """Two or three slice views beside each other.

    What the left view showed of the scan is what all of them show, in whatever room the layout gives them, until the
    user zooms; then they are as near as it is.

    Args:
        scene: The MRML scene.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._before: ViewsState | None = None
        self._count = 0  # of views beside each other; 0 while they stand as the user wants them
        self._seen: tuple[float, float] | None = None  # width and height of what shall be seen of the scan, mm
        self._field = (0.0, 0.0)  # of the left view, as it was left
        self._aligning = False

    def arrange(self, count: int, scan: Any) -> None:
        """Let two or three views stand beside each other.

        Args:
            count: 2 or 3.
            scan: The volume that the left one shows.
        """
        if self._before is None:
            self._before = look(self._scene)
        left = self._views().get(_NAMES[0])
        if left is not None and (self._seen is None or self._hasZoomed(left)):
            self._seen, self._field = seenOf(left, scan), tuple(left.GetFieldOfView()[:2])
        self._count = count
        layout = layoutOf(self._scene)
        if layout is not None:
            if not layout.IsLayoutDescription(_THREE_UP):
                layout.AddLayoutDescription(_THREE_UP, _THREE_UP_XML)
            layout.SetViewArrangement(_LAYOUTS[count])
        for sliceNode, composite in sliceViews(self._scene):
            if sliceNode.GetLayoutName() in _NAMES[:count]:
                composite.SetLinkedControl(True)
        self.align()

    def align(self) -> None:
        """Let the views look at what the left one does; to be called when the room of any of them has changed."""
        views = self._views()
        left = views.pop(_NAMES[0], None)
        if self._aligning or left is None or not self._count:
            return
        self._aligning = True
        if self._hasZoomed(left):
            self._seen = None
        seen = self._seen or tuple(left.GetFieldOfView()[:2])
        width, height = (max(size, 1) for size in left.GetDimensions()[:2])
        scale = max(seen[0] / width, seen[1] / height)  # mm in a pixel
        if self._seen is not None:
            _zoom(left, scale)
            self._field = tuple(left.GetFieldOfView()[:2])
        for other in views.values():
            modifying = other.StartModify()
            other.GetSliceToRAS().DeepCopy(left.GetSliceToRAS())
            _zoom(other, scale)
            other.SetXYZOrigin(*left.GetXYZOrigin())
            other.UpdateMatrices()
            other.EndModify(modifying)
        self._aligning = False

    def restore(self) -> None:
        """Leave the views as they stood before; those of a scene that was saved like this, as Slicer has them."""
        before = self._before
        self.forget()
        layout = layoutOf(self._scene)
        if before is not None and before.arrangement not in _LAYOUTS.values():
            put(self._scene, before, layers=False)
        elif layout is not None and layout.GetViewArrangement() in _LAYOUTS.values():
            layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
            for sliceNode, composite in sliceViews(self._scene):
                composite.SetLinkedControl(False)
                sliceNode.SetOrientation(_ORIENTATIONS.get(sliceNode.GetLayoutName(), sliceNode.GetOrientation()))

    def forget(self) -> None:
        """How the views stood before is no longer of interest."""
        self._before = self._seen = None
        self._count = 0

    def _views(self) -> dict[str, Any]:
        """The views that stand beside each other by name, from left to right; before they do, the left one."""
        nodes = {sliceNode.GetLayoutName(): sliceNode for sliceNode, _composite in sliceViews(self._scene)}
        return {name: nodes[name] for name in _NAMES[: max(self._count, 1)] if name in nodes}

    def _hasZoomed(self, left: Any) -> bool:
        """Whether the user has: Slicer itself keeps width or height of the field when it gives a view another room."""
        field = left.GetFieldOfView()
        return not any(math.isclose(now, then, rel_tol=1e-6) for now, then in zip(field, self._field, strict=False))


def _zoom(sliceNode: Any, scale: float) -> None:
    """Let a pixel of a view be so many mm wide and high."""
    wide, high, _depth = sliceNode.GetDimensions()
    sliceNode.SetFieldOfView(scale * wide, scale * high, sliceNode.GetFieldOfView()[2])
