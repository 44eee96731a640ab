"""The segmentation of the candidate anomalies.

All findings are one segment: moving the sensitivity slider then replaces one label map instead of adding and removing
dozens of segments, and the findings table tells them apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from CondDiffusionUADLib.Terminology import CANDIDATE_ANOMALY

SEGMENT_ID = "CandidateAnomaly"
SEGMENT_NAME = "Candidate anomaly"
SEGMENT_COLOR = (64 / 255, 224 / 255, 208 / 255)  # turquoise: a hue that neither the scan nor the heatmap has
OUTLINE_PIXELS = 2


def createCandidateSegmentation(scene: Any, inputNode: Any, name: str, algorithmName: str) -> Any:
    """A segmentation with one empty segment, on the geometry of the input.

    Args:
        scene: The MRML scene.
        inputNode: The volume that was examined; becomes the reference volume.
        name: Name of the segmentation node.
        algorithmName: Software, version and model, for DICOM.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(inputNode)
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), inputNode.GetID())
    segment = slicer.vtkSegment()
    segment.SetName(SEGMENT_NAME)
    segment.SetColor(*SEGMENT_COLOR)
    segment.SetTerminology(CANDIDATE_ANOMALY)
    # Without these two a DICOM SEG says that somebody drew the segment by hand.
    segment.SetTag("DICOM.SegmentAlgorithmType", "AUTOMATIC")
    segment.SetTag("DICOM.SegmentAlgorithmName", algorithmName)
    node.GetSegmentation().AddSegment(segment, SEGMENT_ID)
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSliceIntersectionThickness(OUTLINE_PIXELS)
    return node


def setCandidateVoxels(segmentationsLogic: Any, segmentationNode: Any, inputNode: Any, mask: np.ndarray) -> None:
    """Replace the voxels of the candidate anomaly.

    Args:
        segmentationsLogic: Slicer's segmentations logic.
        segmentationNode: From `createCandidateSegmentation`.
        inputNode: The volume whose grid the mask has.
        mask: Axes (z, y, x), nonzero inside; may be nonzero nowhere.
    """
    labelmap = _orientedImage(inputNode, mask)
    replace = segmentationsLogic.MODE_REPLACE
    segmentationsLogic.SetBinaryLabelmapToSegment(labelmap, segmentationNode, SEGMENT_ID, replace)


def _orientedImage(inputNode: Any, mask: np.ndarray) -> Any:
    """The part of the mask that is not empty, as a label map with the geometry of the input."""
    box = _boundingBox(mask)
    cropped = np.ascontiguousarray(mask[box] != 0, dtype=np.uint8)
    image = slicer.vtkOrientedImageData()
    z, y, x = box
    image.SetExtent(x.start, x.stop - 1, y.start, y.stop - 1, z.start, z.stop - 1)
    matrix = vtk.vtkMatrix4x4()
    inputNode.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    # The copy keeps the voxels alive after this function.
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(cropped.ravel(), deep=True))
    return image


def _boundingBox(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box with all nonzero voxels; one voxel when there is none."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1) if occupied.size else slice(0, 1))
    return box[0], box[1], box[2]
