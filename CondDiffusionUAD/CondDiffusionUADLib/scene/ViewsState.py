"""What the slice views show and how they stand: read, and brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import vtk

from CondDiffusionUADLib.scene.Nodes import nodesOf

TOP_LAYER = 3  # the first above background, foreground and labels
MARGIN = 0.15  # of a view: nearer to its edge, a place is not shown well


@dataclass(frozen=True)
class ViewState:
    """What one slice view showed: IDs of the volumes in its layers, their opacities, and where it stood."""

    background: str | None
    foreground: str | None
    foregroundOpacity: float
    top: str | None
    topOpacity: float
    place: tuple[float, ...]
    field: tuple[float, ...]
    origin: tuple[float, ...]
    linked: bool


@dataclass(frozen=True)
class ViewsState:
    """What each view showed, by the slice node's ID; the layout (None: there is none) and the crosshair's mode."""

    views: dict[str, ViewState]
    arrangement: int | None
    crosshair: int


def look(scene: Any) -> ViewsState:
    """What the views show now."""
    views = {}
    for sliceNode, composite in sliceViews(scene):
        matrix = sliceNode.GetSliceToRAS()
        views[sliceNode.GetID()] = ViewState(
            composite.GetBackgroundVolumeID(),
            composite.GetForegroundVolumeID(),
            composite.GetForegroundOpacity(),
            *topOf(composite),
            tuple(matrix.GetElement(row, column) for row in range(4) for column in range(4)),
            tuple(sliceNode.GetFieldOfView()),
            tuple(sliceNode.GetXYZOrigin()),
            bool(composite.GetLinkedControl()),
        )
    layout, crosshair = layoutOf(scene), crosshairOf(scene)
    return ViewsState(
        views,
        layout.GetViewArrangement() if layout is not None else None,
        crosshair.GetCrosshairMode() if crosshair is not None else 0,
    )


def put(scene: Any, before: ViewsState, *, layers: bool) -> None:
    """Let the views stand as they did, and show what they did; views and volumes that are gone are left out."""
    layout, crosshair = layoutOf(scene), crosshairOf(scene)
    if layout is not None and before.arrangement is not None:
        layout.SetViewArrangement(before.arrangement)
    if crosshair is not None and layers:
        crosshair.SetCrosshairMode(before.crosshair)
    for sliceNode, composite in sliceViews(scene):
        view = before.views.get(sliceNode.GetID())
        if view is None:
            continue
        composite.SetLinkedControl(view.linked)
        sliceNode.GetSliceToRAS().DeepCopy(view.place)
        sliceNode.SetFieldOfView(*view.field)
        sliceNode.SetXYZOrigin(*view.origin)
        sliceNode.UpdateMatrices()
        if layers:
            there = (i if i and scene.GetNodeByID(i) else None for i in (view.background, view.foreground))
            composite.SetBackgroundVolumeID(next(there))
            composite.SetForegroundVolumeID(next(there))
            composite.SetForegroundOpacity(view.foregroundOpacity)
            if hasattr(composite, "SetNthLayerVolumeID"):
                top = view.top if view.top and scene.GetNodeByID(view.top) else None
                setTop(composite, top, view.topOpacity)


def layoutOf(scene: Any) -> Any:
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def crosshairOf(scene: Any) -> Any:
    return scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")


def sliceViews(scene: Any) -> list[tuple[Any, Any]]:
    """Each slice node with its composite node."""
    composites = {node.GetLayoutName(): node for node in nodesOf(scene, "vtkMRMLSliceCompositeNode")}
    slices = nodesOf(scene, "vtkMRMLSliceNode")
    return [(node, composites[node.GetLayoutName()]) for node in slices if node.GetLayoutName() in composites]


def setTop(composite: Any, volumeId: str | None, opacity: float) -> None:
    """Put a volume on the top layer; in a Slicer that has none, into the foreground."""
    if hasattr(composite, "SetNthLayerVolumeID"):
        if volumeId or composite.GetNumberOfAdditionalLayers():
            composite.SetNthLayerVolumeID(TOP_LAYER, volumeId)
        if volumeId:
            composite.SetNthLayerOpacity(TOP_LAYER, opacity)
    else:
        composite.SetForegroundVolumeID(volumeId)
        composite.SetForegroundOpacity(opacity)


def topOf(composite: Any) -> tuple[str | None, float]:
    if hasattr(composite, "GetNthLayerVolumeID") and composite.GetNumberOfAdditionalLayers():
        return composite.GetNthLayerVolumeID(TOP_LAYER), composite.GetNthLayerOpacity(TOP_LAYER)
    return None, 0.0


def copyWindow(scan: Any, reconstruction: Any) -> None:
    """Show the reconstruction as bright as the scan, so that the eye compares tissue and not window settings."""
    source, target = scan.GetVolumeDisplayNode(), reconstruction.GetVolumeDisplayNode()
    if target is None:
        return
    if source is None:
        target.AutoWindowLevelOn()
    elif (target.GetWindow(), target.GetLevel()) != (source.GetWindow(), source.GetLevel()):
        target.AutoWindowLevelOff()
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())


def showsWell(sliceNode: Any, place: tuple[float, float, float]) -> bool:
    """Whether a place in the world projects into the middle part of a slice view."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(sliceNode.GetXYToRAS(), inverse)
    pixel, size = inverse.MultiplyPoint((*place, 1.0)), sliceNode.GetDimensions()
    return all(MARGIN * n <= p <= (1 - MARGIN) * n for p, n in zip(pixel[:2], size[:2], strict=True))


def seenOf(sliceNode: Any, volume: Any) -> tuple[float, float]:
    """Width and height (mm) of what a view shows of a volume: of its field at most, of the volume at most."""
    rasToSlice, bounds = vtk.vtkMatrix4x4(), [0.0] * 6
    vtk.vtkMatrix4x4.Invert(sliceNode.GetSliceToRAS(), rasToSlice)
    volume.GetSliceBounds(bounds, rasToSlice)
    field = sliceNode.GetFieldOfView()
    return min(field[0], bounds[1] - bounds[0]), min(field[1], bounds[3] - bounds[2])
