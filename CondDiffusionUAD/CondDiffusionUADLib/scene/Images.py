"""Volumes that hold several 3-D images, of which one can be taken out as a scan.

What Slicer makes of them: all echoes (types, repetitions) of a DICOM series in one volume, slice upon slice, on a grid
that is none of theirs; the frames of a sequence one after the other in a volume that changes; the values of a
multi-volume or vector volume side by side in each voxel.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.stacks import EVERY, ORIENTATION, POSITION, TAGS, split
from CondDiffusionUADLib.scene.Nodes import nodesOf, putBeside

INSTANCES = "DICOM.instanceUIDs"
NUMBER_OF_FRAMES = "0028,0008"
_WHOLE_ROLE = "CondDiffusionUAD.Whole"
_TITLE = "CondDiffusionUAD.Image"
_NIFTI, _HEADER_BYTES = (".nii", ".nii.gz", ".hdr"), 348
_COLORS = (3, 4)  # values of a voxel in color, 8 bits each

Value = Callable[[str, str], str]
"""Tells the value of a tag ("gggg,eeee") of a DICOM instance (UID); empty when it is unknown."""
File = Callable[[str], str]
"""Tells the file of a DICOM instance (UID); empty when it is unknown."""


@dataclass(frozen=True)
class Image:
    """One of the images that a volume holds.

    Attributes:
        title: Tells it from the others.
        make: Adds it to a scene as a volume of its own, with the logic of Slicer's module Volumes; None when Slicer
            cannot read it.
        alone: Whether the volume shows one image at a time, so that it is a scan itself.
    """

    title: str
    make: Callable[[Any, Any], Any]
    alone: bool = False


def imagesIn(volume: Any, value: Value, file: File) -> tuple[Image, ...]:
    """The images that a volume holds; empty when it is one image, or none that could be a scan."""
    if whyNoScan(volume):
        return ()
    return _stacks(volume, value, file) or _frames(volume) or _values(volume)


def whyNoScan(volume: Any) -> str:
    """Why neither a volume nor an image in it can be a scan, and what to do; empty when it may be one."""
    image = volume.GetImageData()
    if volume.IsA("vtkMRMLDiffusionWeightedVolumeNode") or volume.IsA("vtkMRMLDiffusionImageVolumeNode"):
        return _("It is a diffusion image, which no model knows. Choose a T1, T2 or FLAIR scan.")
    if image is not None and image.GetNumberOfScalarComponents() in _COLORS and image.GetScalarSize() == 1:
        return _("It is in color. Choose the scan in gray values.")
    return ""


def mixedFrames(volume: Any, value: Value, file: File) -> str:
    """That a DICOM file of many images (enhanced) holds several at a place, and what to do; empty when it does not.

    Slicer shows all of them as slices of one volume, and the database has no tags of single images to take them apart.
    """
    instances = (volume.GetAttribute(INSTANCES) or "").split()
    if len(instances) != 1 or value(instances[0], NUMBER_OF_FRAMES).strip() in ("", "1"):
        return ""
    import pydicom  # here, as Slicer's own: the module must open at once
    from pydicom.errors import InvalidDicomError

    try:
        groups = "PerFrameFunctionalGroupsSequence"
        frames = pydicom.dcmread(file(instances[0]), stop_before_pixels=True, specific_tags=[groups])[groups]
        places = {tuple(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in frames}
    except (OSError, AttributeError, KeyError, IndexError, TypeError, ValueError, InvalidDicomError):
        return ""
    if len(places) == len(frames.value):
        return ""
    text = _("Its file holds {images} images at {places} places. Slicer cannot take them apart: convert it to NIfTI.")
    return text.format(images=len(frames.value), places=len(places))


def imagesLeftOut(volume: Any) -> str:
    """That a NIfTI file holds more images than Slicer took from it, and what to do; empty when it does not."""
    storage = volume.GetStorageNode()
    path = Path(str(storage.GetFileName() or "")) if storage is not None else Path()
    if not path.name.lower().endswith(_NIFTI):
        return ""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else Path.open)(path, "rb") as file:
            header = file.read(_HEADER_BYTES)
        order = "<" if header[:4] == struct.pack("<i", _HEADER_BYTES) else ">"
        axes, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    except (OSError, EOFError, struct.error, zlib.error):
        return ""
    count = math.prod(sizes[3:axes]) if header[344:347] in (b"n+1", b"ni1") else 1
    if count < 2:
        return ""
    text = _(
        "The file holds {count} images, and Slicer loaded the first. Load it as a volume sequence to choose another."
    )
    return text.format(count=count)


def takeOut(volume: Any, image: Image, volumesLogic: Any) -> Any:
    """An image as a volume of its own beside the one that holds it, always the same; None if it is unreadable."""
    scene = volume.GetScene()
    for node in nodesOf(scene, "vtkMRMLScalarVolumeNode"):
        if node.GetNodeReference(_WHOLE_ROLE) is volume and node.GetAttribute(_TITLE) == image.title:
            return node
    node = image.make(scene, volumesLogic)
    if node is not None:
        node.SetName(scene.GetUniqueNameByString(f"{volume.GetName()}, {image.title}"))
        node.SetNodeReferenceID(_WHOLE_ROLE, volume.GetID())
        node.SetAttribute(_TITLE, image.title)
        putBeside(scene, node, volume)
    return node


# The stacks of a DICOM series.


def _stacks(volume: Any, value: Value, file: File) -> tuple[Image, ...]:
    instances = (volume.GetAttribute(INSTANCES) or "").split()
    heights = _heights(instances, value)
    if heights is None:
        return ()
    groups = split(heights, [{}] * len(instances))
    if len(groups) < 2:
        return ()  # the tags of all images are only asked for where they are needed
    marks = [_marks(instance, value) for instance in instances]
    images = []
    for number, (group, mark) in enumerate(split(heights, marks), start=1):
        names = TAGS if mark == EVERY else (mark,)
        told = [marks[group[0]][name] for name in names if name in marks[group[0]]]
        title = ": ".join([str(number), ", ".join([*told, _("{count} images").format(count=len(group))])])
        ordered = sorted(group, key=heights.__getitem__)
        images.append(Image(title, _Loading([instances[index] for index in ordered], file)))
    return tuple(images)


def _heights(instances: Sequence[str], value: Value) -> list[float] | None:
    """Where each image lies across the plane of the first, mm; None when the tags do not tell."""
    if len(instances) < 2:
        return None
    try:
        plane = np.array(value(instances[0], ORIENTATION).split("\\"), float).reshape(2, 3)
        places = np.array([value(instance, POSITION).split("\\") for instance in instances], float)
        return [float(height) for height in places @ np.cross(*plane)]
    except ValueError:
        return None


def _marks(instance: str, value: Value) -> Mapping[str, str]:
    told = ((name, value(instance, tag).strip(), unit) for name, (tag, unit) in TAGS.items())
    return {name: f"{name} {text}{unit}" for name, text, unit in told if text}


@dataclass(frozen=True)
class _Loading:
    """Loads some files of a series as Slicer loads a whole one: with the scaling and the grid of these files."""

    instances: Sequence[str]
    file: File

    def __call__(self, scene: Any, volumesLogic: Any) -> Any:
        files = vtk.vtkStringArray()
        for instance in self.instances:
            path = self.file(instance)
            if not path:
                return None
            files.InsertNextValue(path)
        node = volumesLogic.AddArchetypeScalarVolume(files.GetValue(0), "image", 0, files)
        if node is not None:
            node.SetAttribute(INSTANCES, " ".join(self.instances))
        return node


# The frames of a sequence, and the values of a voxel.


def _frames(volume: Any) -> tuple[Image, ...]:
    browsers = nodesOf(volume.GetScene(), "vtkMRMLSequenceBrowserNode")
    sequence = next((found for browser in browsers if (found := browser.GetSequenceNode(volume)) is not None), None)
    if sequence is None or sequence.GetNumberOfDataNodes() < 2:
        return ()
    name, unit, count = sequence.GetIndexName(), sequence.GetIndexUnit(), sequence.GetNumberOfDataNodes()
    titles = [f"{n + 1}: {name} {sequence.GetNthIndexValue(n)} {unit}".strip() for n in range(count)]
    return tuple(
        Image(title, lambda scene, _logic, n=n: _copied(sequence.GetNthDataNode(n), None, volume), alone=True)
        for n, title in enumerate(titles)
    )


def _values(volume: Any) -> tuple[Image, ...]:
    image = volume.GetImageData()
    count = image.GetNumberOfScalarComponents() if image is not None else 1
    if count < 2:
        return ()
    labels = (volume.GetAttribute("MultiVolume.FrameLabels") or "").split(",")
    name = volume.GetAttribute("MultiVolume.FrameIdentifyingDICOMTagName") or ""
    unit = volume.GetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits") or ""
    if len(labels) != count:
        titles = [_("image {number} of {count}").format(number=n + 1, count=count) for n in range(count)]
    else:
        titles = [f"{n + 1}: {name} {label.strip()} {unit}".strip() for n, label in enumerate(labels)]
    return tuple(Image(title, lambda scene, _logic, n=n: _copied(volume, n, volume)) for n, title in enumerate(titles))


def _copied(source: Any, value: int | None, volume: Any) -> Any:
    """A plain volume in the scene and place of another, with the voxels of a source, or one value of each."""
    extract = vtk.vtkImageExtractComponents()
    extract.SetInputData(source.GetImageData())
    extract.SetComponents(value or 0)
    extract.Update()
    image = vtk.vtkImageData()
    image.DeepCopy(extract.GetOutput())
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    node.CopyOrientation(source)
    node.SetAndObserveImageData(image)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    instances = source.GetAttribute(INSTANCES) or ""
    if len(instances.split()) == image.GetDimensions()[2]:
        node.SetAttribute(INSTANCES, instances)
    node.CreateDefaultDisplayNodes()
    return node
