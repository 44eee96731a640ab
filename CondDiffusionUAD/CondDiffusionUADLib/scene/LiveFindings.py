"""The findings of a detection in the scene: segmentation, table and heatmap follow threshold, decisions and hand edits.

The threshold is the heatmap's own; smallest volume, decisions and edits are attributes of the heatmap. So the scene
file keeps everything, and this class can be made again from a scene that was loaded. What a hand changed in the
segmentation is taken over before anything is written: the segmentation as it stands is what table, volumes and exports
are made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.scene.CandidateSegmentation import createSegmentation, isShownInThreeD, showInThreeD
from CondDiffusionUADLib.scene.Components import Components, linkingSteps
from CondDiffusionUADLib.scene.Decisions import (
    ACCEPTED,
    DECISIONS_ATTRIBUTE,
    EDITS_ATTRIBUTE,
    MIN_VOLUME_ATTRIBUTE,
    OPEN,
    SHOWN_ATTRIBUTE,
    STATUSES,
    Decisions,
    Kept,
    Voxel,
)
from CondDiffusionUADLib.scene.Findings import Finding, FindingsModel, Selection, setFindings
from CondDiffusionUADLib.scene.Heatmap import SCORE_RANGE, showFrom
from CondDiffusionUADLib.scene.Nodes import (
    DetectionNodes,
    heatmapName,
    linkNodes,
    matrixOf,
    placeProblem,
    putBeside,
    toWorld,
    voxels,
)
from CondDiffusionUADLib.scene.WrittenSegmentation import WrittenSegmentation, livePieces, piecesOf

NOT_REJECTED = (OPEN, ACCEPTED)


class LiveFindings:
    """The findings of one detection.

    Args:
        segmentationsLogic: Slicer's segmentations logic.
        nodes: Of the detection, with heatmap voxels; a missing segmentation or table is made again.
        model: Of the heatmap.

    Attributes:
        nodes: Of the detection.
        selection: What is shown now.
    """

    def __init__(self, segmentationsLogic: Any, nodes: DetectionNodes, model: FindingsModel) -> None:
        kept = self._kept = Kept(nodes.heatmap)
        self._segments = WrittenSegmentation(segmentationsLogic, nodes.segmentation, nodes.heatmap, kept.algorithm)
        self._model = model
        self._madeAgain = False
        self.nodes = nodes
        self.selection = Selection((), np.zeros((3, 0), np.intp), np.zeros(0, np.uint16))

    @classmethod
    def openingSteps(
        cls,
        segmentationsLogic: Any,
        nodes: DetectionNodes,
        result: list[LiveFindings],
        components: Components | None = None,
    ) -> Iterator[None]:
        """Take up a detection that is in the scene as it was left, in steps of some hundredths of a second.

        Args:
            segmentationsLogic: Slicer's segmentations logic.
            nodes: Of the detection.
            result: Receives the findings at the end.
            components: Of the heatmap, if they are known; else linking them takes up to a second.

        Raises:
            ProblemError: The heatmap has no voxels.
        """
        if not nodes.hasScores:
            message = _("The file of the heatmap is missing, so its findings cannot be shown.")
            hint = _("Put the file back and load the scene, or detect again.")
            raise ProblemError(Problem("no_scores", message, hint))
        linked = [components] if components is not None else []
        if not linked:
            yield from linkingSteps(voxels(nodes.heatmap), SCORE_RANGE[0], linked)
        decisions = Decisions(linked[0])
        yield from decisions.restoring(Kept(nodes.heatmap).decisions)
        model = FindingsModel(linked[0], matrixOf(nodes.heatmap), decisions, voxels(nodes.heatmap))
        yield
        model.edits = Kept(nodes.heatmap).edits
        live = cls(segmentationsLogic, nodes, model)
        yield from live._takingUp()
        result.append(live)
        yield

    @classmethod
    def fromScene(
        cls, segmentationsLogic: Any, nodes: DetectionNodes, components: Components | None = None
    ) -> LiveFindings:
        """`openingSteps` at once."""
        result: list[LiveFindings] = []
        for _step in cls.openingSteps(segmentationsLogic, nodes, result, components):
            pass
        return result[0]

    @property
    def threshold(self) -> float:
        """The score from which a voxel belongs to a finding; see `Kept.threshold`."""
        return self._kept.threshold

    @property
    def minVolumeMl(self) -> float:
        """The smallest volume of a finding, ml."""
        return self._kept.minVolumeMl

    @property
    def largestScore(self) -> float:
        """The largest score of the scan, wherever it is."""
        return float(self.nodes.heatmap.GetImageData().GetScalarRange()[1])

    @property
    def edited(self) -> bool:
        """Whether a hand changed the segmentation."""
        return bool(self._model.edits) or any(finding.segment for finding in self.selection.findings)

    def preview(self, threshold: float) -> None:
        """Show a threshold in the heatmap only: for a slider while it is dragged. `show` has to follow."""
        showFrom(self.nodes.heatmap, threshold)

    def show(self, threshold: float, minVolumeMl: float) -> None:
        """Show the findings at this threshold that are at least this large."""
        self._takeOver()
        showFrom(self.nodes.heatmap, threshold)
        self._kept.write(MIN_VOLUME_ATTRIBUTE, f"{minVolumeMl:.6g}")
        self._write()

    def decide(self, number: int, status: str) -> None:
        """Accept, reject or open again the finding of that number; rejected ones leave the segmentation."""
        finding = self.selection.findings[number - 1]
        if not finding.segment:
            self._model.decisions.decide(finding.peak, self.threshold, status)
            self._decided(finding.peak)

    @property
    def canUndo(self) -> bool:
        """Whether there is a decision to take back."""
        return self._model.decisions.canUndo

    @property
    def canRedo(self) -> bool:
        """Whether a decision was taken back."""
        return self._model.decisions.canRedo

    def undo(self) -> Voxel | None:
        """Take the latest decision back; returns the peak of its finding, for `find`."""
        return self._decided(self._model.decisions.undo())

    def redo(self) -> Voxel | None:
        """Decide again what was taken back; returns the peak of its finding, for `find`."""
        return self._decided(self._model.decisions.redo())

    def find(self, peak: Voxel | None) -> Finding | None:
        """The finding with this peak, or that its voxel belongs to now; None when there is none."""
        return self.selection.find(peak) if peak is not None else None

    def refresh(self) -> bool:
        """Take over what was changed elsewhere: hand edits, threshold, transform, deleted nodes.

        To be called when the panel is shown again, and before anything is made from the findings.

        Returns:
            Whether anything is different now.
        """
        before = self.selection.findings
        if self._takeOver() or not self._complete or self._placed().findings != before:
            self._write()
        return self.selection.findings != before

    def notices(self) -> tuple[str, ...]:
        """What a user should know about this result, a sentence each."""
        said = []
        problem = placeProblem(self.nodes)
        if problem == "moved":
            said.append(_("The scan has been moved since: the result lies where the scan was."))
        elif problem:
            said.append(_("The scan has another grid now: the result is of the scan as it was."))
        if self._madeAgain:
            said.append(_("A segment, the segmentation or the table was deleted and has been made again."))
        if self._model.edits:
            said.append(_("Changes made by hand are kept at every sensitivity."))
        return tuple(said)

    def numbers(self, statuses: Iterable[str] = NOT_REJECTED) -> np.ndarray:
        """The number of the finding of each voxel, uint16, axes (z, y, x); 0 where none with these statuses is."""
        chosen = [finding.number for finding in self.chosen(statuses)]
        return self.selection.labels(voxels(self.nodes.heatmap).shape, chosen)

    def chosen(self, statuses: Iterable[str] = STATUSES) -> tuple[Finding, ...]:
        """The findings with these statuses."""
        wanted = set(statuses)
        return tuple(finding for finding in self.selection.findings if finding.status in wanted)

    def segmentationOf(self, statuses: Iterable[str], name: str) -> Any:
        """A new segmentation node with one segment for each finding with these statuses; the caller's to remove."""
        return self._segments.separate(piecesOf(self.selection, self.chosen(statuses)), name, self.nodes.input)

    def editableCopy(self) -> Any:
        """A segmentation for the Segment Editor, with one segment for each finding that was not rejected.

        No slider touches it. What is changed in it is taken over by `refresh`, which shows the findings again; until
        then they are hidden, so that the views show one outline and not two.
        """
        self.refresh()
        return self._segments.copyForEditing(piecesOf(self.selection, self.chosen(NOT_REJECTED)), self.nodes.input)

    def showInThreeD(self, shown: bool) -> None:
        """Show the findings as surfaces in the 3D views, or not."""
        showInThreeD(self.nodes.segmentation, shown)

    @property
    def shownInThreeD(self) -> bool:
        """Whether the findings are shown as surfaces."""
        return isShownInThreeD(self.nodes.segmentation)

    def keepHidden(self) -> None:
        """Keep which segments the user hid: to be called when the segmentation's display was changed."""
        self._segments.keepHidden()

    def _decided(self, voxel: Voxel | None) -> Voxel | None:
        self._takeOver()
        self._kept.write(DECISIONS_ATTRIBUTE, self._model.decisions.text())
        self._write()
        return voxel

    def _takingUp(self) -> Iterator[None]:
        """Start from a scene: compare what would be written with what is there, and take the difference over."""
        self.selection = self._model.select(self._kept.shownThreshold, self.minVolumeMl)
        yield
        self._segments.expect(livePieces(self.selection))
        yield
        self.refresh()

    @property
    def _complete(self) -> bool:
        """Whether no node and no segment is missing."""
        table = self.nodes.findings
        return self._segments.isComplete and table is not None and table.GetScene() is self.nodes.heatmap.GetScene()

    def _mend(self) -> None:
        """Make again what was deleted."""
        self._madeAgain = self._madeAgain or not self._complete
        heatmap, nodes = self.nodes.heatmap, self.nodes
        scene, name = heatmap.GetScene(), heatmap.GetName().removesuffix(heatmapName(""))
        if not self._segments.isThere:
            self._segments.node = createSegmentation(scene, nodes.input, heatmap, f"{name} candidate anomalies")
            nodes = replace(nodes, segmentation=self._segments.node)
        if nodes.findings is None or nodes.findings.GetScene() is not scene:
            nodes = replace(nodes, findings=scene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} findings"))
        if nodes is not self.nodes:
            for node in (nodes.segmentation, nodes.findings):
                putBeside(scene, node, heatmap)
            self.nodes = nodes
            linkNodes(nodes)

    def _takeOver(self) -> bool:
        """Take over what a hand changed since the last look; whether it did."""
        edits = self._segments.takeOver(self._model.edits)
        if edits is self._model.edits:
            return False
        self._model.edits = edits
        self._kept.write(EDITS_ATTRIBUTE, edits.text())
        return True

    def _placed(self) -> Selection:
        """The findings now, with the user's own segments, and with the places where the views show them."""
        selection = self._model.withOwn(self._model.select(self.threshold, self.minVolumeMl), self._segments.own)
        if self.nodes.heatmap.GetParentTransformNode() is None:
            return selection
        findings = tuple(replace(f, centerRas=toWorld(self.nodes.heatmap, f.centerRas)) for f in selection.findings)
        return replace(selection, findings=findings)

    def _write(self) -> None:
        """Bring the findings at the threshold into the nodes."""
        self._mend()
        self.selection = self._placed()
        self._segments.write(livePieces(self.selection))
        self._kept.write(SHOWN_ATTRIBUTE, f"{self.threshold:.9g}")
        setFindings(self.nodes.findings, self.selection.findings)
