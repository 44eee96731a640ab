"""What the slice views show: scan and heatmap, or its uncertainty; scan and reconstruction, fading or side by side.

The heatmap and the fading reconstruction lie on a layer above the classic three where Slicer has one (from 5.10 on), so
that a drag with the mouse changes the window of the scan and never theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from CondDiffusionUADLib.scene.BrainSurface import hideBrain
from CondDiffusionUADLib.scene.Colors import Scale, legendOf, pin, showLegend
from CondDiffusionUADLib.scene.Heatmap import DEFAULT_OPACITY, SCORE
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections
from CondDiffusionUADLib.scene.Outlines import bringOut, putAway
from CondDiffusionUADLib.scene.SideBySide import SideBySide
from CondDiffusionUADLib.scene.Uncertainty import UNCERTAINTY as UNCERTAINTY_SCALE
from CondDiffusionUADLib.scene.ViewsState import (
    ViewsState,
    copyWindow,
    crosshairOf,
    look,
    put,
    setTop,
    showsWell,
    sliceViews,
)

HEATMAP, FADE, SIDE_BY_SIDE, THREE_UP, UNCERTAINTY = MODES = ("heatmap", "fade", "sideBySide", "threeUp", "uncertainty")
_VIEWS_BESIDE = {SIDE_BY_SIDE: 2, THREE_UP: 3}  # each other


class Views:
    """Shows a detection in the slice views, and what they showed before.

    `forget` has to be called before it is dropped: VTK goes on to call the observers of an object that is gone.

    Args:
        scene: The MRML scene.
        resized: Called when the layout gave a view another room; has to see to it that `align` is called soon after,
            for Slicer does not draw what is changed in a view while it tells of its new size. None: at once.
    """

    def __init__(self, scene: Any, resized: Callable[[], None] | None = None) -> None:
        self._scene = scene
        self._resized = resized or self.align
        self._before: ViewsState | None = None
        self._beside = SideBySide(scene)
        self._shown: DetectionNodes | None = None
        self._mode = HEATMAP
        self._fade = 0.0
        self._opacity = DEFAULT_OPACITY
        self._legend = True
        self._flickering = self._hidden = False
        self._observed: list[tuple[Any, int]] = []

    @property
    def canRestore(self) -> bool:
        """Whether it is known what the views showed before."""
        return self._before is not None

    def show(
        self, nodes: DetectionNodes, mode: str = HEATMAP, opacity: float = DEFAULT_OPACITY, fade: float = 0.5
    ) -> None:
        """Show a detection, and hide the outlines and surfaces of all others.

        Its own outlines are shown if it is another detection than before, or was put away; what the user hides
        meanwhile stays hidden.

        Args:
            nodes: Of the detection; without what the mode takes, the heatmap is shown.
            mode: One of `MODES`.
            opacity: Of the heatmap or the uncertainty, 0..1.
            fade: Of the reconstruction over the scan, 0..1.
        """
        another = self._shown is None or self._shown.heatmap is not nodes.heatmap
        showOnly(self._scene, nodes, asked=another)
        self._arrange(nodes, mode, opacity, fade)

    def _arrange(self, nodes: DetectionNodes, mode: str, opacity: float, fade: float) -> None:
        """Bring a detection into the slice views."""
        if self._before is None:
            self._before = look(self._scene)
        self._shown, self._mode = nodes, mode if canShow(nodes, mode) else HEATMAP
        self._opacity, self._fade, self._flickering, self._hidden = opacity, fade, False, False
        for volume, scale in _scales(nodes):
            pin(volume, scale)
        if self._mode in _VIEWS_BESIDE:
            self._beside.arrange(_VIEWS_BESIDE[self._mode], nodes.input)
        else:
            self._beside.restore()
        self._layers()
        self._follow()

    def resume(self, nodes: DetectionNodes, mode: str, opacity: float, fade: float) -> bool:
        """Go on with what a loaded scene shows of a detection; the views stay as they are if that is nothing.

        Outlines that the user had hidden stay hidden.
        """
        showOnly(self._scene, nodes, asked=False)
        volumes = (nodes.heatmap, nodes.reconstruction, nodes.uncertainty)
        ours = {node.GetID() for node in volumes if node is not None}
        shown = look(self._scene).views.values()
        if not any(ours & {view.background, view.foreground, view.top} for view in shown):
            return False
        self._arrange(nodes, mode, opacity, fade)
        self._before = None  # it is not known
        return True

    def setOpacity(self, opacity: float) -> None:
        """Set the opacity (0..1) of the heatmap and of the uncertainty."""
        self._opacity = opacity
        self._layers()

    def setFade(self, fade: float) -> None:
        """Set the opacity (0..1) of the reconstruction over the scan."""
        self._fade = fade
        self._layers()

    def setLegendVisible(self, visible: bool) -> None:
        """Show the color legend where the heatmap or the uncertainty is, or not."""
        self._legend = visible
        self._layers()

    def toggleHeatmap(self) -> bool:
        """Take the heatmap, or the uncertainty, off the scan, or put it back; returns whether it is shown now."""
        self._hidden = not self._hidden
        self._layers()
        return not self._hidden

    def flicker(self) -> bool:
        """Show the reconstruction in the place of the scan, or the scan again; returns whether it is the former."""
        self._flickering = not self._flickering
        self._layers()
        return self._flickering

    def align(self) -> None:
        """Let views that stand beside each other look at the same, in the room that they have now."""
        self._beside.align()

    def restore(self) -> None:
        """Show again what the views showed before the first `show`."""
        before = self._before
        if before is None:
            return
        self._beside.restore()
        self.forget()
        put(self._scene, before, layers=True)
        showOnly(self._scene, None)

    def forget(self) -> None:
        """What was shown before is gone: another scene, or the panel goes."""
        self._unobserve()
        self._before = self._shown = None
        self._beside.forget()

    def jump(self, place: tuple[float, float, float]) -> None:
        """Move all slice views to a place in the world (R, A, S), mm, and mark it with the crosshair.

        A view that shows the place well inside keeps what else it shows; the others center on it.
        """
        for sliceNode, _composite in sliceViews(self._scene):
            if showsWell(sliceNode, place):
                sliceNode.JumpSliceByOffsetting(*place)
            else:
                sliceNode.JumpSliceByCentering(*place)
        crosshair = crosshairOf(self._scene)
        if crosshair is not None:
            if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
                crosshair.SetCrosshairMode(crosshair.ShowSmallBasic)
            crosshair.SetCrosshairRAS(*place)

    def _layers(self) -> None:
        """Bring the volumes into the layers of the views."""
        nodes = self._shown
        if nodes is None or nodes.heatmap.GetScene() is not self._scene:
            return
        tops = []
        for sliceNode, composite in sliceViews(self._scene):
            background, top, opacity = self._content(sliceNode.GetLayoutName())
            modifying = composite.StartModify()
            composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
            composite.SetForegroundVolumeID(None)
            setTop(composite, top.GetID() if top is not None else None, opacity)
            composite.EndModify(modifying)
            tops.append((sliceNode, top))
        tops.sort(key=lambda view: not view[0].IsMappedInLayout())
        for volume, _scale in _scales(nodes):
            shown = (sliceNode for sliceNode, top in tops if top is volume)
            showLegend(volume, next(shown, None) if self._legend else None)

    def _content(self, view: str) -> tuple[Any, Any, float]:
        """Background, top layer and its opacity of a view."""
        nodes = self._shown
        scan = nodes.input
        if self._flickering and nodes.reconstruction is not None:
            scan = nodes.reconstruction
        top = nodes.uncertainty if self._mode == UNCERTAINTY else nodes.heatmap
        if self._mode == FADE:
            return scan, nodes.reconstruction, self._fade
        if self._mode == SIDE_BY_SIDE:
            return (nodes.reconstruction, None, 0.0) if view == "Yellow" else (scan, None, 0.0)
        if self._mode == THREE_UP and view != "Green":
            return (nodes.reconstruction, None, 0.0) if view == "Yellow" else (scan, None, 0.0)
        return scan, None if self._hidden else top, self._opacity

    def _follow(self) -> None:
        """Keep the colors' scales, the reconstruction as bright as the scan, the legend's size, the views aligned."""
        self._unobserve()
        nodes = self._shown
        if nodes is None:
            return
        display = nodes.input.GetVolumeDisplayNode() if nodes.input is not None else None
        if display is not None and nodes.reconstruction is not None:
            self._observe(display, lambda *_: copyWindow(nodes.input, nodes.reconstruction))
            copyWindow(nodes.input, nodes.reconstruction)
        for volume, scale in _scales(nodes):
            if volume.GetVolumeDisplayNode() is not None:
                self._observe(volume.GetVolumeDisplayNode(), lambda *_, volume=volume, scale=scale: pin(volume, scale))
        sizes = {}
        for sliceNode, _composite in sliceViews(self._scene):
            sizes[sliceNode.GetID()] = tuple(sliceNode.GetDimensions()[:2])
            self._observe(sliceNode, lambda caller, _event: self._onResized(caller, sizes))

    def _unobserve(self) -> None:
        while self._observed:
            node, tag = self._observed.pop()
            node.RemoveObserver(tag)

    def _observe(self, node: Any, call: Callable[..., None]) -> None:
        self._observed.append((node, node.AddObserver("ModifiedEvent", call)))

    def _onResized(self, sliceNode: Any, sizes: dict[str, tuple[int, ...]]) -> None:
        size = tuple(sliceNode.GetDimensions()[:2])
        if sizes.get(sliceNode.GetID()) != size:
            sizes[sliceNode.GetID()] = size
            for volume, _scale in _scales(self._shown) if self._shown is not None else ():
                legend = legendOf(volume)
                if legend is not None and legend.GetVisibility() and legend.GetNthViewNodeID(0) == sliceNode.GetID():
                    showLegend(volume, sliceNode)  # as large as before, in pixels
            self._resized()


def showOnly(scene: Any, shown: DetectionNodes | None, *, asked: bool = True) -> None:
    """Show the outlines, the surfaces and the legend of one detection only.

    Args:
        scene: The MRML scene.
        shown: The detection; None: no detection is shown.
        asked: Whether the user wants to see it now. If not, outlines that she hid herself stay hidden.
    """
    for nodes in findDetections(scene):
        chosen = shown is not None and nodes.heatmap is shown.heatmap
        if nodes.segmentation is not None and nodes.segmentation.GetDisplayNode() is not None:
            if chosen:
                bringOut(nodes.segmentation, asked=asked)
            else:
                putAway(nodes.segmentation, forAnother=shown is not None)
        if not chosen:
            for volume, _scale in _scales(nodes):
                showLegend(volume, None)
            hideBrain(nodes)


def canShow(nodes: DetectionNodes, mode: str) -> bool:
    """Whether a detection has what a mode takes."""
    if mode == UNCERTAINTY:
        return nodes.uncertainty is not None
    complete = nodes.input is not None and nodes.reconstruction is not None
    return mode == HEATMAP or (mode in MODES and complete)


def _scales(nodes: DetectionNodes) -> list[tuple[Any, Scale]]:
    """The colored volumes of a detection, each with what its colors mean."""
    volumes = ((nodes.heatmap, SCORE), (nodes.uncertainty, UNCERTAINTY_SCALE))
    return [(volume, scale) for volume, scale in volumes if volume is not None]
