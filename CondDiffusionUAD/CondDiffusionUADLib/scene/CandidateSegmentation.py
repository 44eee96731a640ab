"""The segmentation of the candidate anomalies: what its segments mean, writing them, and reading what a hand changed.

All findings that nobody has judged are one segment: moving the sensitivity slider then replaces one label map instead
of adding and removing dozens of segments. Each accepted finding is a segment of its own, so that Segment Statistics and
DICOM SEG see lesions. Segments that the user adds are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from CondDiffusionUADLib.run.Folders import resource
from CondDiffusionUADLib.scene.Nodes import matrixOf, vtkMatrix

SEGMENT_ID = "CandidateAnomaly"
ACCEPTED_PREFIX = "AcceptedCandidate"
OPEN_COLOR = (64 / 255, 224 / 255, 208 / 255)  # turquoise: a hue that neither the scan nor the heatmap has
ACCEPTED_COLOR = (90 / 255, 230 / 255, 70 / 255)  # green, as on every traffic light
OUTLINE_PIXELS = 2
GRID_TOLERANCE_MM = 1e-3

CONTEXT_NAME = "Segmentation category and type - CondDiffusionUAD"
# Slicer's serialized form: context~category~type~type modifier~region context~region~region modifier. The meaning is
# "suspected lesion, in the brain": SNOMED CT has no code for an anomaly that nobody has judged yet.
CANDIDATE_ANOMALY = "~".join(
    (
        CONTEXT_NAME,
        "SCT^49755003^Morphologically Altered Structure",
        "SCT^52988006^Lesion",
        "SCT^415684004^Suspected",
        "Anatomic codes - DICOM master list",
        "SCT^12738006^Brain",
        "^^",
    )
)
_NAME_TAG = "CondDiffusionUAD.Name"


@dataclass(frozen=True)
class Piece:
    """What a segment shall be.

    Attributes:
        segmentId: Of the segment; made when it is not there.
        name: Given unless the user has renamed the segment.
        color: Red, green, blue, 0..1; given when the segment is made.
        mask: uint8, axes (z, y, x), nonzero inside; a box of the grid.
        offset: Voxel index (z, y, x) of the first voxel of the mask.
    """

    segmentId: str
    name: str
    color: tuple[float, float, float]
    mask: np.ndarray
    offset: tuple[int, int, int] = (0, 0, 0)

    def sameAs(self, other: Piece) -> bool:
        """Whether the other one has this name and these voxels."""
        return (self.name, self.offset) == (other.name, other.offset) and np.array_equal(self.mask, other.mask)


def loadTerminology(terminologiesLogic: Any) -> None:
    """Make the shipped terminology selectable, if it is not yet. Raises FileNotFoundError when it is missing."""
    if not terminologiesLogic.IsTerminologyContextLoaded(CONTEXT_NAME):
        terminologiesLogic.LoadTerminologyFromFile(str(resource("Terminologies/CondDiffusionUAD.term.json")))


def createSegmentation(scene: Any, inputNode: Any, geometryNode: Any, name: str) -> Any:
    """An empty segmentation on the grid and in the place of a volume, shown as outlines.

    Args:
        scene: The MRML scene.
        inputNode: The volume that was examined; becomes the reference volume. None when it is gone.
        geometryNode: A volume on the same grid.
        name: Name of the segmentation node.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(inputNode or geometryNode)
    node.SetAndObserveTransformNodeID(geometryNode.GetTransformNodeID())
    displayOf(node)
    return node


def displayOf(node: Any) -> Any:
    """How a segmentation is shown: as outlines; made on first use, and again when it was deleted."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetSliceIntersectionThickness(OUTLINE_PIXELS)
    return node.GetDisplayNode()


def writePieces(logic: Any, node: Any, geometryNode: Any, pieces: Iterable[Piece], algorithmName: str) -> None:
    """Replace the voxels of segments, and make those that are not there.

    Args:
        logic: Slicer's segmentations logic.
        node: The segmentation.
        geometryNode: A volume on the grid of the masks.
        pieces: The segments.
        algorithmName: Software, version and model, for DICOM.
    """
    matrix = vtkMatrix(matrixOf(geometryNode))
    for piece in pieces:
        segment = node.GetSegmentation().GetSegment(piece.segmentId)
        if segment is None:
            segment = _makeSegment(node, piece, algorithmName)
        named = vtk.reference("")
        if piece.name != segment.GetName() and segment.GetTag(_NAME_TAG, named) and named.get() == segment.GetName():
            segment.SetName(piece.name)
            segment.SetTag(_NAME_TAG, piece.name)
        image = _orientedImage(matrix, piece.mask, piece.offset)
        logic.SetBinaryLabelmapToSegment(image, node, piece.segmentId, logic.MODE_REPLACE)


def _makeSegment(node: Any, piece: Piece, algorithmName: str) -> Any:
    segment = slicer.vtkSegment()
    segment.SetName(piece.name)
    segment.SetColor(*piece.color)
    segment.SetTerminology(CANDIDATE_ANOMALY)
    segment.SetTag(_NAME_TAG, piece.name)
    # Without these two a DICOM SEG says that somebody drew the segment by hand.
    segment.SetTag("DICOM.SegmentAlgorithmType", "AUTOMATIC")
    segment.SetTag("DICOM.SegmentAlgorithmName", algorithmName)
    node.GetSegmentation().AddSegment(segment, piece.segmentId)
    return segment


def segmentIds(node: Any) -> list[str]:
    """The IDs of the segments of a segmentation, in their order."""
    ids = vtk.vtkStringArray()
    node.GetSegmentation().GetSegmentIDs(ids)
    return [ids.GetValue(index) for index in range(ids.GetNumberOfValues())]


def isOurs(segmentId: str) -> bool:
    """Whether the module writes the segment; else the user added it."""
    return segmentId == SEGMENT_ID or segmentId.startswith(ACCEPTED_PREFIX)


def labelmapOf(node: Any, segmentId: str) -> Any:
    """The binary label map of a segment, or None."""
    segment = node.GetSegmentation().GetSegment(segmentId)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name) if segment is not None else None
    return image if image is not None and image.GetPointData().GetScalars() is not None else None


def stampOf(node: Any) -> tuple[tuple[str, int], ...]:
    """What changes whenever the voxels of any segment do; comparing it takes no time."""
    images = ((name, labelmapOf(node, name)) for name in segmentIds(node))
    return tuple((name, image.GetMTime() if image is not None else 0) for name, image in images)


def readSegments(node: Any, names: Iterable[str], geometryNode: Any) -> list[np.ndarray]:
    """The voxels of segments on the grid of a volume, for each sorted flat indices (z, y, x order), int64.

    A segment on another grid is resampled; what lies outside of the volume is left out. A label map is read once,
    however many segments share it: in a scene that was loaded, all of them may.
    """
    images = [(name, labelmapOf(node, name)) for name in names]
    read = {image: _valuesOn(image, geometryNode) for image in {image for _name, image in images} - {None}}
    found = []
    for name, image in images:
        flat, values = read.get(image, (np.zeros(0, np.int64), np.zeros(0, np.uint8)))
        found.append(flat[values == node.GetSegmentation().GetSegment(name).GetLabelValue()])
    return found


def _valuesOn(image: Any, geometryNode: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where a label map is not 0 on the grid of a volume: sorted flat indices, int64; and its values there."""
    size, theirs = geometryNode.GetImageData().GetDimensions(), matrixOf(geometryNode)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    if not np.allclose(np.array(matrix.GetData()).reshape(4, 4), theirs, rtol=0, atol=GRID_TOLERANCE_MM):
        image = _resampled(image, _orientedImage(vtkMatrix(theirs), np.zeros(size[::-1], np.uint8), (0, 0, 0)))
    labels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()) if image.GetNumberOfPoints() else np.zeros(0)
    places = np.flatnonzero(labels)
    values, extent = labels[places], image.GetExtent()
    inside = np.stack(np.unravel_index(places, image.GetDimensions()[::-1]))
    inside += np.array([extent[4], extent[2], extent[0]])[:, None]
    within = ((inside >= 0) & (inside < np.array(size[::-1])[:, None])).all(axis=0)
    return np.ravel_multi_index(tuple(inside[:, within]), size[::-1]).astype(np.int64), values[within]


def _resampled(image: Any, reference: Any) -> Any:
    """A label map on the grid of another one; empty when that is not possible."""
    result = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    return result if resample(image, reference, result, False) else slicer.vtkOrientedImageData()


def showInThreeD(segmentationNode: Any, shown: bool) -> None:
    """Show the candidates as surfaces in the 3D views, or not; surfaces that nobody sees are not kept up to date."""
    display = displayOf(segmentationNode)
    if shown:
        segmentationNode.CreateClosedSurfaceRepresentation()
        display.SetVisibility(True)  # the views may have gone back to what they showed before
    else:
        segmentationNode.RemoveClosedSurfaceRepresentation()
    display.SetVisibility3D(shown)


def isShownInThreeD(segmentationNode: Any) -> bool:
    """Whether the candidates are shown as surfaces: by `showInThreeD` or by Slicer's own button."""
    display = segmentationNode.GetDisplayNode()
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    shown = display is not None and display.GetVisibility() and display.GetVisibility3D()
    return bool(shown) and segmentationNode.GetSegmentation().ContainsRepresentation(name)


def _orientedImage(matrix: Any, mask: np.ndarray, offset: tuple[int, int, int]) -> Any:
    image = slicer.vtkOrientedImageData()
    extent = [(first, first + size - 1) for first, size in zip(offset, mask.shape, strict=True)]
    image.SetExtent(*extent[2], *extent[1], *extent[0])
    image.SetImageToWorldMatrix(matrix)
    # The copy keeps the voxels alive after this function.
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(mask != 0, dtype=np.uint8).ravel(), deep=True)
    scalars.SetName("ImageScalars")  # Slicer's DICOM SEG export asks for the voxels by this name
    image.GetPointData().SetScalars(scalars)
    return image
