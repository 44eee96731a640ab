"""A DICOM series, and what Slicer's DICOM SEG export does with a segmentation.

Slicer's exporter is a Python file of the application that no package brings. This one asks the same of the scene,
through the same classes of slicer-core, and lets the same program write the file: dcmqi's itkimage2segimage.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer
import vtk

INSTANCE_UID = "0008|0018"


class Database:
    """`slicer.dicomDatabase`: the files of one series.

    Args:
        folder: Where they are.
    """

    isOpen = True  # noqa: N815 (Slicer's name)

    def __init__(self, folder: Path) -> None:
        self._files = {read_tag(path, INSTANCE_UID): path for path in sorted(folder.glob("*.dcm"))}
        self.inserted: list[str] = []

    @property
    def instances(self) -> list[str]:
        """The UIDs, in the order of the slices."""
        return list(self._files)

    def fileForInstance(self, uid: str) -> str:  # noqa: N802 (Slicer's name)
        """The file of an instance; empty when it is unknown."""
        return str(self._files.get(uid, ""))

    def instanceValue(self, uid: str, tag: str) -> str:  # noqa: N802
        """The value of a tag ("gggg,eeee") of an instance."""
        return read_tag(Path(self.fileForInstance(uid)), tag.replace(",", "|").lower())

    def insert(self, path: str) -> None:
        """Take a file in."""
        self.inserted.append(path)


class Exportable:
    """`slicer.qSlicerDICOMExportable`."""

    def __init__(self) -> None:
        self.directory = ""
        self.subjectHierarchyItemID = 0  # Slicer's name


def read_tag(path: Path, tag: str) -> str:
    """The value of a tag of a DICOM file."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""


def write_series(image: sitk.Image, folder: Path) -> None:
    """Write an image as a series of MR slices."""
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    common = {
        "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
        "0008|0060": "MR",
        "0008|103e": "T2 tse",
        "0010|0010": "Nobody",
        "0010|0020": "1",
        "0020|000d": "1.2.826.0.1.3680043.2.1125.1",
        "0020|000e": "1.2.826.0.1.3680043.2.1125.1.1",
        "0020|0011": "3",
        "0020|0052": "1.2.826.0.1.3680043.2.1125.1.2",
        "0020|0037": "\\".join(f"{direction[index]:.8f}" for index in (0, 3, 6, 1, 4, 7)),
    }
    for number in range(image.GetSize()[2]):
        piece = image[:, :, number]
        position = image.TransformIndexToPhysicalPoint((0, 0, number))
        own = {
            INSTANCE_UID: f"1.2.826.0.1.3680043.2.1125.1.1.{number + 1}",
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{value:.6f}" for value in position),
        }
        for tag, value in {**common, **own}.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number:03}.dcm"))
        writer.Execute(piece)


class DICOMSegmentationPluginClass:
    """The export half of Slicer's plug-in."""

    def examineForExport(self, item: int) -> list[Exportable]:  # noqa: N802 (Slicer's name)
        """What can be exported of a subject hierarchy item."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        uids = hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs").split()
        if not hierarchy.GetItemDataNode(item).IsA("vtkMRMLSegmentationNode"):
            return []
        if not all(slicer.dicomDatabase.fileForInstance(uid) for uid in uids):
            return []
        found = Exportable()
        found.subjectHierarchyItemID = item
        return [found]

    def export(self, exportables: list[Exportable]) -> str:
        """Write the files; returns what went wrong."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        for exportable in exportables:
            try:
                _export(hierarchy.GetItemDataNode(exportable.subjectHierarchyItemID), Path(exportable.directory))
            except (ValueError, RuntimeError) as error:
                return str(error)
        return ""


def _export(segmentation: Any, folder: Path) -> None:
    segments = segmentation.GetSegmentation()
    ids = [segments.GetNthSegmentID(index) for index in range(segments.GetNumberOfSegments())]
    empty = [name for name in ids if _is_empty(segments.GetSegment(name))]
    if len(empty) == len(ids):
        raise ValueError("No non empty segments found.")
    if empty:
        raise ValueError("Export canceled")  # Slicer asks whether to leave them out; a test run answers No
    reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    if reference is None:
        raise ValueError("Referenced volume is not found for the segmentation.")
    uids = (reference.GetAttribute("DICOM.instanceUIDs") or "").split()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        (work / "series").mkdir()
        for uid in uids:
            shutil.copy(slicer.dicomDatabase.fileForInstance(uid), work / "series")
        files = [_label_file(segmentation, name, work) for name in ids]
        attributes = [[_attributes(segments.GetSegment(name))] for name in ids]
        described = {
            "ContentCreatorName": "Slicer",
            "SeriesNumber": "103",
            "SeriesDescription": segmentation.GetName(),
            "InstanceNumber": "1",
            "ClinicalTrialSeriesID": "1",
            "ClinicalTrialTimePointID": "1",
            "ClinicalTrialCoordinatingCenterName": "none",
            "segmentAttributes": attributes,
        }
        (work / "meta.json").write_text(json.dumps(described))
        result = folder / "seg.dcm"
        arguments = {
            "--inputDICOMDirectory": work / "series",
            "--inputImageList": ",".join(files),
            "--inputMetadata": work / "meta.json",
            "--outputDICOM": result,
        }
        run_dcmqi("itkimage2segimage", arguments)
    slicer.dicomDatabase.insert(str(result))


def run_dcmqi(program: str, arguments: dict[str, Any]) -> None:
    """Run a program of dcmqi. Raises RuntimeError."""
    words = [str(word) for pair in arguments.items() for word in pair]
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([str(path), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stdout} {done.stderr}")


def _is_empty(segment: Any) -> bool:
    """Slicer asks for the voxels by this name; those of any other name are none to it."""
    image = segment.GetRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName())
    array = image.GetPointData().GetArray("ImageScalars")
    return array is None or array.GetValueRange() == (0, 0)


def _label_file(segmentation: Any, segment_id: str, folder: Path) -> str:
    image, ids = slicer.vtkOrientedImageData(), vtk.vtkStringArray()
    ids.InsertNextValue(segment_id)
    segmentation.GenerateMergedLabelmapForAllSegments(image, 0, None, ids)
    labels = slicer.vtkMRMLLabelMapVolumeNode()
    slicer.mrmlScene.AddNode(labels)
    logic = slicer.modules.segmentations.logic()
    assert logic.CreateLabelmapVolumeFromOrientedImageData(image, labels)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(folder / f"{segment_id}.nrrd"))
    assert storage.WriteData(labels)
    slicer.mrmlScene.RemoveNode(labels)
    return str(storage.GetFileName())


def _attributes(segment: Any) -> dict[str, Any]:
    entry = slicer.vtkSlicerTerminologyEntry()
    tag = vtk.reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
    slicer.modules.terminologies.logic().DeserializeTerminologyEntry(tag.get(), entry)
    if entry.GetCategoryObject() is None or entry.GetTypeObject() is None:
        raise ValueError(f"Segment {segment.GetName()} has missing attributes.")
    kind, name = vtk.reference(""), vtk.reference("")
    kind = kind.get() if segment.GetTag("DICOM.SegmentAlgorithmType", kind) else "MANUAL"
    name = name.get() if segment.GetTag("DICOM.SegmentAlgorithmName", name) else ""
    if kind != "MANUAL" and not name:
        raise ValueError(f"Segment {segment.GetName()} has missing SegmentAlgorithmName.")
    codes = {
        "SegmentedPropertyCategoryCodeSequence": entry.GetCategoryObject(),
        "SegmentedPropertyTypeCodeSequence": entry.GetTypeObject(),
        "SegmentedPropertyTypeModifierCodeSequence": entry.GetTypeModifierObject(),
        "AnatomicRegionSequence": entry.GetRegionObject(),
    }
    return {
        "labelID": 1,
        "SegmentLabel": segment.GetName(),
        "SegmentDescription": entry.GetCategoryObject().GetCodeMeaning(),
        "SegmentAlgorithmType": kind,
        "SegmentAlgorithmName": name,
        "recommendedDisplayRGBValue": [round(255 * value) for value in segment.GetColor()],
        **{key: _code(code) for key, code in codes.items() if code is not None and code.GetCodeValue()},
    }


def _code(code: Any) -> dict[str, str]:
    return {
        "CodeValue": code.GetCodeValue(),
        "CodingSchemeDesignator": code.GetCodingSchemeDesignator(),
        "CodeMeaning": code.GetCodeMeaning(),
    }


def make_module() -> types.ModuleType:
    """The module `DICOMSegmentationPlugin`."""
    module = types.ModuleType("DICOMSegmentationPlugin")
    module.DICOMSegmentationPluginClass = DICOMSegmentationPluginClass  # type: ignore[attr-defined]
    return module
