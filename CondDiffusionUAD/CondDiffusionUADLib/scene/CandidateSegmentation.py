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

from CondDiffusionUADLib.scene.Terminology import CANDIDATE_ANOMALY

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


def setCandidateVoxels(
    segmentationsLogic: Any,
    segmentationNode: Any,
    geometryNode: Any,
    mask: np.ndarray,
    offset: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """Replace the voxels of the candidate anomaly.

    Args:
        segmentationsLogic: Slicer's segmentations logic.
        segmentationNode: From `createCandidateSegmentation`.
        geometryNode: A volume on the grid of the mask.
        mask: Axes (z, y, x), nonzero inside; may be nonzero nowhere, and may be a box of the grid only.
        offset: Voxel index (z, y, x) of the first voxel of the mask.
    """
    labelmap = _orientedImage(geometryNode, np.ascontiguousarray(mask != 0, dtype=np.uint8), offset)
    replace = segmentationsLogic.MODE_REPLACE
    segmentationsLogic.SetBinaryLabelmapToSegment(labelmap, segmentationNode, SEGMENT_ID, replace)


def showInThreeD(segmentationNode: Any, shown: bool) -> None:
    """Show the candidates as surfaces in the 3D views, or not; surfaces that nobody sees are not kept up to date."""
    if shown:
        segmentationNode.CreateClosedSurfaceRepresentation()
    else:
        segmentationNode.RemoveClosedSurfaceRepresentation()
    segmentationNode.GetDisplayNode().SetVisibility3D(shown)


def isShownInThreeD(segmentationNode: Any) -> bool:
    """Whether `showInThreeD` shows the candidates."""
    return bool(
        segmentationNode.GetDisplayNode().GetVisibility3D()
    ) and segmentationNode.GetSegmentation().ContainsRepresentation(
        slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    )


def _orientedImage(geometryNode: Any, mask: np.ndarray, offset: tuple[int, int, int]) -> Any:
    image = slicer.vtkOrientedImageData()
    extent = [(first, first + size - 1) for first, size in zip(offset, mask.shape, strict=True)]
    image.SetExtent(*extent[2], *extent[1], *extent[0])
    matrix = vtk.vtkMatrix4x4()
    geometryNode.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    # The copy keeps the voxels alive after this function.
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.ravel(), deep=True))
    return image
