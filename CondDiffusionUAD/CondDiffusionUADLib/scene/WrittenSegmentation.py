"""The segmentation of a detection in the scene: writes it, and tells what a hand did to it since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from CondDiffusionUADLib.scene.CandidateSegmentation import (
    ACCEPTED_COLOR,
    ACCEPTED_PREFIX,
    OPEN_COLOR,
    SEGMENT_ID,
    Piece,
    createSegmentation,
    displayOf,
    isOurs,
    labelmapOf,
    readSegments,
    segmentIds,
    stampOf,
    writePieces,
)
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, OPEN, REJECTED
from CondDiffusionUADLib.scene.Edits import Edits, pack, unpack
from CondDiffusionUADLib.scene.Findings import Finding, Selection
from CondDiffusionUADLib.scene.Nodes import HEATMAP_ROLE, ROLE_ATTRIBUTE, nodesOf, putBeside
from CondDiffusionUADLib.scene.Outlines import bringOut, isPutAway, keepHidden, putAway, showAsKept

MOST_ACCEPTED = 200  # more segments of their own than that would make Slicer's lists stick
_COPY_ROLE = "copyForEditing"
_TAKEN_ATTRIBUTE = "CondDiffusionUAD.Taken"  # of a copy: its voxels as they were last seen


class WrittenSegmentation:
    """Writes the segments of a detection and reads what a hand changed in them, and in copies of them.

    Args:
        logic: Slicer's segmentations logic.
        node: The segmentation, or None when it is gone.
        heatmap: The volume on whose grid it is.
        algorithmName: Software, version and model, for DICOM.

    Attributes:
        node: The segmentation.
        own: Name and sorted flat voxel indices of each segment that the user added.
    """

    def __init__(self, logic: Any, node: Any, heatmap: Any, algorithmName: str) -> None:
        self._logic = logic
        self._heatmap = heatmap
        self._algorithm = algorithmName
        self._written: dict[str, Piece] = {}
        self._stamp: object = None  # of the segmentation, when it was last looked at
        self._copyStamps: dict[str, object] = {}
        self._working = False  # what is hidden meanwhile, the user did not hide
        self.node = node
        self.own: list[tuple[str, np.ndarray]] = []

    @property
    def isThere(self) -> bool:
        """Whether the segmentation is in the scene."""
        return self.node is not None and self.node.GetScene() is self._heatmap.GetScene()

    @property
    def isComplete(self) -> bool:
        """Whether the segmentation and all segments that were written are there."""
        return self.isThere and set(self._written) <= set(segmentIds(self.node))

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Take these for what was written, by a session before this one, and show what the user left shown."""
        self._written = {piece.segmentId: piece for piece in pieces}
        if self.isThere:
            showAsKept(self.node)

    def keepHidden(self) -> None:
        """Keep which segments the user hid; to be called when it may have changed."""
        if self.isThere and not self._working:
            keepHidden(self.node)

    def write(self, pieces: Iterable[Piece]) -> None:
        """Bring these segments into the scene, and take others of the module out; what is there already is left."""
        with self._atWork():
            self._bring(pieces)
            showAsKept(self.node)

    @contextmanager
    def _atWork(self) -> Iterator[None]:
        before, self._working = self._working, True
        try:
            yield
        finally:
            self._working = before

    def _bring(self, pieces: Iterable[Piece]) -> None:
        wanted = {piece.segmentId: piece for piece in pieces}
        present = set(segmentIds(self.node))
        modifying = self.node.StartModify()
        for name in present - set(wanted):
            if isOurs(name):
                self.node.GetSegmentation().RemoveSegment(name)
        changed = [piece for name, piece in wanted.items() if not (name in present and self._is(piece))]
        writePieces(self._logic, self.node, self._heatmap, changed, self._algorithm)
        self.node.EndModify(modifying)
        self._written, self._stamp = wanted, stampOf(self.node)

    def takeOver(self, edits: Edits) -> Edits:
        """Some edits, and what a hand changed since the last look; the same object when it changed nothing."""
        before = edits
        if self.isThere and stampOf(self.node) != self._stamp:
            self._stamp = stampOf(self.node)
            present = [name for name in self._written if labelmapOf(self.node, name) is not None]
            written = _joined(self._flat(self._written[name]) for name in present)
            edits = edits.then(written, self._union(self.node, present))
            own = [name for name in segmentIds(self.node) if not isOurs(name)]
            titles = (self.node.GetSegmentation().GetSegment(name).GetName() for name in own)
            self.own = list(zip(titles, readSegments(self.node, own, self._heatmap), strict=True))
        elif not self.isThere:
            self.own = []
        copies = self._copies()
        for copy in copies:
            edits = self._takeOverCopy(copy, edits)
        self._showInsteadOf(copies)
        if edits is not before:
            self._written = {}  # a hand was there: everything is written anew
        return edits

    def separate(self, pieces: Iterable[Piece], name: str, scan: Any) -> Any:
        """A new segmentation node with these segments, on the grid of the heatmap.

        Args:
            pieces: The segments.
            name: Of the node.
            scan: The volume that was examined, or None when it is gone.
        """
        node = createSegmentation(self._heatmap.GetScene(), scan, self._heatmap, name)
        writePieces(self._logic, node, self._heatmap, pieces, self._algorithm)
        return node

    def copyForEditing(self, pieces: Iterable[Piece], scan: Any) -> Any:
        """`separate` for the Segment Editor; `takeOver` reads what is changed in it. This one is hidden meanwhile."""
        scene = self._heatmap.GetScene()
        copy = self.separate(pieces, scene.GetUniqueNameByString(f"{self.node.GetName()}, edited"), scan)
        copy.SetAttribute(ROLE_ATTRIBUTE, _COPY_ROLE)
        copy.SetNodeReferenceID(HEATMAP_ROLE, self._heatmap.GetID())
        copy.SetAttribute(_TAKEN_ATTRIBUTE, pack(self._union(copy, segmentIds(copy))))
        putBeside(scene, copy, self.node)
        displayOf(self.node)  # which a hand may have deleted
        putAway(self.node, forAnother=True)
        return copy

    def _is(self, piece: Piece) -> bool:
        """Whether a segment is in the scene as it shall be."""
        written = self._written.get(piece.segmentId)
        return written is not None and piece.sameAs(written) and labelmapOf(self.node, piece.segmentId) is not None

    def _copies(self) -> list[Any]:
        segmentations = nodesOf(self._heatmap.GetScene(), "vtkMRMLSegmentationNode")
        copies = [node for node in segmentations if node.GetAttribute(ROLE_ATTRIBUTE) == _COPY_ROLE]
        return [node for node in copies if node.GetNodeReference(HEATMAP_ROLE) is self._heatmap]

    def _takeOverCopy(self, copy: Any, edits: Edits) -> Edits:
        if self._copyStamps.get(copy.GetID()) != stampOf(copy):
            self._copyStamps[copy.GetID()] = stampOf(copy)
            edits = self._compareCopy(copy, edits)
        return edits

    def _showInsteadOf(self, copies: Iterable[Any]) -> None:
        """Hide the copies and show the segmentation, also one that was put away for a copy that is hidden or gone."""
        shown = [
            display for copy in copies if (display := copy.GetDisplayNode()) is not None and display.GetVisibility()
        ]
        for display in shown:
            display.SetVisibility(False)
        if self.isThere and self.node.GetDisplayNode() is not None and (shown or isPutAway(self.node)):
            with self._atWork():
                bringOut(self.node, asked=True)
                showAsKept(self.node)

    def _compareCopy(self, copy: Any, edits: Edits) -> Edits:
        now = self._union(copy, segmentIds(copy))
        try:
            before = unpack(copy.GetAttribute(_TAKEN_ATTRIBUTE) or "", self._heatmap.GetImageData().GetNumberOfPoints())
        except ValueError:  # damaged: nobody can say any more what a hand did to it
            before = now
        if not np.array_equal(before, now):
            edits = edits.then(before, now)
            copy.SetAttribute(_TAKEN_ATTRIBUTE, pack(now))
        return edits

    def _union(self, node: Any, names: Iterable[str]) -> np.ndarray:
        return _joined(readSegments(node, names, self._heatmap))

    def _flat(self, piece: Piece) -> np.ndarray:
        inside = np.argwhere(piece.mask).T + np.array(piece.offset)[:, None]
        return np.ravel_multi_index(tuple(inside), self._heatmap.GetImageData().GetDimensions()[::-1]).astype(np.int64)


def piecesOf(selection: Selection, findings: Iterable[Finding]) -> list[Piece]:
    """One segment for each of some findings."""
    return [_piece(selection, finding, f"Finding{finding.number}") for finding in findings]


def livePieces(selection: Selection) -> list[Piece]:
    """What the segments of the module shall be: one for all findings that nobody judged, one for each accepted one."""
    written = [finding for finding in selection.findings if not finding.segment]
    accepted = [finding for finding in written if finding.status == ACCEPTED][:MOST_ACCEPTED]
    apart = {finding.number for finding in accepted}
    together = [finding.number for finding in written if finding.status != REJECTED and finding.number not in apart]
    pieces = [Piece(SEGMENT_ID, _("Candidate anomaly"), OPEN_COLOR, *selection.mask(together))]
    for finding in accepted:
        pieces.append(_piece(selection, finding, "_".join((ACCEPTED_PREFIX, *map(str, finding.peak)))))
    return pieces


def _piece(selection: Selection, finding: Finding, segmentId: str) -> Piece:
    status = {OPEN: _("not judged"), ACCEPTED: _("accepted"), REJECTED: _("rejected")}[finding.status]
    name = finding.segment or _("Candidate {number}, {status}").format(number=finding.number, status=status)
    color = ACCEPTED_COLOR if finding.status == ACCEPTED else OPEN_COLOR
    return Piece(segmentId, name, color, *selection.mask([finding.number]))


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    """All of some flat voxel indices, sorted, each once."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))
