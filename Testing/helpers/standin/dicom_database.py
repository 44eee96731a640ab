"""`slicer.dicomDatabase`: tags and files of DICOM instances, and a series loaded as Slicer's plugin does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import vtk


class DicomDatabase:
    """The files of a folder as Slicer's database knows them: everything is text, and what is unknown is empty.

    Args:
        folder: With the files.
    """

    isOpen = True  # a property, as PythonQt shows it

    def __init__(self, folder: Path) -> None:
        headers = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())}
        self._files = {str(header.SOPInstanceUID): path for path, header in headers.items()}
        self._headers = {str(header.SOPInstanceUID): header for header in headers.values()}  # kept, if files go or not

    def instanceValue(self, instance: str, tag: str) -> str:
        """The value of a tag such as "0018,0081", several values of it with backslashes between them."""
        element = self._headers.get(instance, {}).get(tuple(int(part, 16) for part in tag.split(",")))
        if element is None or element.value is None:
            return ""
        return "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)

    def fileForInstance(self, instance: str) -> str:
        """The file of an instance."""
        path = self._files.get(instance)
        return str(path) if path is not None and path.is_file() else ""

    def load(self, logic: Any, name: str) -> Any:
        """All files as one volume in the order of their places, whatever they are."""

        def height(instance: str) -> float:
            place, plane = (self.instanceValue(instance, tag).split("\\") for tag in ("0020,0032", "0020,0037"))
            return float(np.array(place, float) @ np.cross(*np.array(plane, float).reshape(2, 3)))

        instances = sorted(self._files, key=height)
        files = vtk.vtkStringArray()
        for instance in instances:
            files.InsertNextValue(str(self._files[instance]))
        node = logic.AddArchetypeScalarVolume(files.GetValue(0), name, 0, files)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(instances))
        return node
