"""What the slice views show: the scan under its heatmap, or the scan and its reconstruction, fading or side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import slicer

from CondDiffusionUADLib.scene.HeatmapDisplay import Layers, restoreLayers, setOpacity, showLayers
from CondDiffusionUADLib.scene.Nodes import DetectionNodes

HEATMAP, FADE, SIDE_BY_SIDE = MODES = ("heatmap", "fade", "sideBySide")


@dataclass(frozen=True)
class Views:
    """What the views showed: layers, layout (None: there is no layout), and (node ID, orientation, linked) of each."""

    layers: list[Layers]
    arrangement: int | None
    slices: tuple[tuple[str, str, bool], ...]


class Comparison:
    """Shows a detection in the slice views, and what they showed before.

    Args:
        scene: The MRML scene.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._before: Views | None = None
        self._arranged: Views | None = None

    @property
    def canRestore(self) -> bool:
        """Whether it is known what the views showed before."""
        return self._before is not None

    def show(self, nodes: DetectionNodes, mode: str, opacity: float, fade: float) -> None:
        """Show a detection.

        Args:
            nodes: Of the detection; without input or reconstruction, the heatmap is shown whatever the mode.
            mode: One of `MODES`.
            opacity: Of the heatmap, 0..1.
            fade: Of the reconstruction over the scan, 0..1.
        """
        if self._before is None:
            self._before = self._views([])
        complete = nodes.input is not None and nodes.reconstruction is not None
        if mode == SIDE_BY_SIDE and complete:
            layers = self._showSideBySide(nodes)
        else:
            self._arrangeAsBefore()
            fading = mode == FADE and complete
            foreground = nodes.reconstruction if fading else nodes.heatmap
            layers = showLayers(self._scene, nodes.input, foreground, fade if fading else opacity)
        if not self._before.layers:
            self._before = replace(self._before, layers=layers)

    def setForegroundOpacity(self, volumeNode: Any, opacity: float) -> None:
        """Set the opacity (0..1) of a volume wherever it is the foreground."""
        setOpacity(self._scene, volumeNode, opacity)

    def restore(self) -> None:
        """Show again what the views showed before the first `show`."""
        before, self._before = self._before, None
        if before is not None:
            self._arrangeAsBefore()
            restoreLayers(self._scene, before.layers)

    def forget(self) -> None:
        """What was shown before is gone: another scene."""
        self._before = self._arranged = None

    def jump(self, volumeNode: Any, ras: tuple[float, float, float]) -> None:
        """Move all slice views to a place, given in the coordinates of a volume (R, A, S), mm."""
        world = [0.0, 0.0, 0.0]
        volumeNode.TransformPointToWorld(ras, world)
        slicer.vtkMRMLSliceNode.JumpAllSlices(self._scene, *world, slicer.vtkMRMLSliceNode.OffsetJumpSlice)

    def _showSideBySide(self, nodes: DetectionNodes) -> list[Layers]:
        if self._arranged is None:
            self._arranged = self._views([])
        layers = showLayers(self._scene, nodes.input, None, 0.0)
        layout = self._layout()
        if layout is not None:
            layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
        views = {sliceNode.GetLayoutName(): (sliceNode, composite) for sliceNode, composite in self._sliceViews()}
        if "Red" in views and "Yellow" in views:  # the left and the right one of this layout
            (left, leftLayers), (right, rightLayers) = views["Red"], views["Yellow"]
            left.SetOrientation("Axial")
            right.GetSliceToRAS().DeepCopy(left.GetSliceToRAS())
            right.UpdateMatrices()
            rightLayers.SetBackgroundVolumeID(nodes.reconstruction.GetID())
            for composite in (leftLayers, rightLayers):
                composite.SetLinkedControl(True)
        return layers

    def _arrangeAsBefore(self) -> None:
        before, self._arranged = self._arranged, None
        if before is None:
            return
        layout = self._layout()
        if layout is not None and before.arrangement is not None:
            layout.SetViewArrangement(before.arrangement)
        known = {identifier: (orientation, linked) for identifier, orientation, linked in before.slices}
        for sliceNode, composite in self._sliceViews():
            if sliceNode.GetID() in known:
                orientation, linked = known[sliceNode.GetID()]
                if sliceNode.GetOrientation() != orientation:
                    sliceNode.SetOrientation(orientation)
                composite.SetLinkedControl(linked)

    def _views(self, layers: list[Layers]) -> Views:
        layout = self._layout()
        slices = tuple(
            (sliceNode.GetID(), sliceNode.GetOrientation(), bool(composite.GetLinkedControl()))
            for sliceNode, composite in self._sliceViews()
        )
        return Views(layers, layout.GetViewArrangement() if layout is not None else None, slices)

    def _layout(self) -> Any:
        return self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")

    def _sliceViews(self) -> list[tuple[Any, Any]]:
        """Each slice node with its composite node."""
        composites = {}
        for index in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
            composite = self._scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
            composites[composite.GetLayoutName()] = composite
        found = []
        for index in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            sliceNode = self._scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
            if sliceNode.GetLayoutName() in composites:
                found.append((sliceNode, composites[sliceNode.GetLayoutName()]))
        return found
