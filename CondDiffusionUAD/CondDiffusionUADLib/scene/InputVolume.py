"""The scan to examine: which volume it is, which contrast it has, and how it is handed to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.contrast_names import TAGS, Told, contrast_of
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.scene.Nodes import canBeScan, isOffered, isResult, matrixOf, voxels

INSTANCE_NUMBER = "0020,0013"
_BYTES_A_STEP = 16 << 20

# The engine reads NRRD with all digits of the geometry; NIfTI would round it to single precision.
_NRRD_TYPES = {
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "int64": "int64",
    "uint64": "uint64",
    "float32": "float",
    "float64": "double",
}


def preselected(volumes: Iterable[Any], shown: Any) -> Any:
    """The volume that is most likely meant: the one that is shown, else the last loaded; None when there is none.

    Args:
        volumes: Of the scene, in the order they were loaded.
        shown: The background of the slice views, or None.
    """
    offered = [volume for volume in volumes if isOffered(volume)]
    if shown in offered:
        return shown
    return next(iter([*filter(canBeScan, reversed(offered)), *reversed(offered)]), None)


def toldContrast(volumeNode: Any, dicomValue: Callable[[str, str], str]) -> Told:
    """What the DICOM tags and the name of a volume tell of its contrast, or what it seems to be instead.

    Args:
        volumeNode: The scan.
        dicomValue: The value of a tag ("gggg,eeee") of a DICOM instance (UID); empty when it is unknown.
    """
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    values = ((keyword, dicomValue(instances[0], tag)) for keyword, tag in TAGS.items()) if instances else ()
    return contrast_of({keyword: value for keyword, value in values if value}, volumeNode.GetName() or "")


def guessContrast(volumeNode: Any, dicomValue: Callable[[str, str], str]) -> tuple[str, str] | None:
    """The contrast that the DICOM tags or the name of a volume tell, and where they do; None when they do not."""
    told = toldContrast(volumeNode, dicomValue)
    if told.contrast is None:
        return None
    return told.contrast, "DICOM" if told.source in TAGS else "name"


def seriesSlice(volumeNode: Any, number: int, dicomValue: Callable[[str, str], str]) -> str:
    """What the series calls a slice of the volume: its instance number where DICOM tells it, else its number.

    Args:
        volumeNode: The scan, or None when it is gone.
        number: Of the slice in the volume, from 1 on.
        dicomValue: The value of a tag ("gggg,eeee") of a DICOM instance (UID); empty when it is unknown.
    """
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split() if volumeNode is not None else []
    image = volumeNode.GetImageData() if volumeNode is not None else None
    if image is None or len(instances) != image.GetDimensions()[2] or not 1 <= number <= len(instances):
        return str(number)
    return dicomValue(instances[number - 1], INSTANCE_NUMBER).strip() or str(number)


def checkScan(volumeNode: Any) -> None:
    """Raise ProblemError unless the volume can be a scan; the engine checks the rest."""
    if isResult(volumeNode):
        message = _("The chosen volume is a result of this module, or a copy of one.")
        raise ProblemError(Problem("is_result", message, _("Choose the volume with the scan.")))
    image = volumeNode.GetImageData()
    if image is None or not image.GetNumberOfPoints():
        hint = _("Choose the volume with the scan.")
        raise ProblemError(Problem("no_voxels", _("The chosen volume is empty."), hint))
    if image.GetNumberOfScalarComponents() != 1:
        message = _("The chosen volume is in color or has several values in each voxel.")
        raise ProblemError(Problem("is_rgb", message, _("Choose the scan in gray values.")))


def writingSteps(volumeNode: Any, path: Path) -> Iterator[None]:
    """Write a volume as NRRD, in steps. Raises OSError."""
    array = voxels(volumeNode)
    slices = max(1, _BYTES_A_STEP // max(1, array[0].nbytes))
    with path.open("wb") as file:
        file.write(_header(volumeNode, array).encode("ascii"))
        for start in range(0, len(array), slices):
            file.write(np.ascontiguousarray(array[start : start + slices]).data)
            yield


def _header(volumeNode: Any, array: np.ndarray) -> str:
    columns = matrixOf(volumeNode)[:3].T.tolist()
    *directions, origin = ("(" + ",".join(f"{value!r}" for value in column) + ")" for column in columns)
    endian = "little" if array.dtype.newbyteorder("=").str[0] in "<|" else "big"
    lines = (
        "NRRD0004",
        f"type: {_NRRD_TYPES[array.dtype.name]}",
        "dimension: 3",
        "space: right-anterior-superior",
        f"sizes: {array.shape[2]} {array.shape[1]} {array.shape[0]}",
        f"space directions: {' '.join(directions)}",
        "kinds: domain domain domain",
        f"endian: {endian}",
        "encoding: raw",
        f"space origin: {origin}",
        "",
        "",
    )
    return "\n".join(lines)


def contrastDoubt(told: Told) -> str:
    """What a scan seems to be, and why, if that is no contrast a model knows: after contrast agent, a TIRM, a map."""
    if not told.other:
        return ""
    doubt = _("It seems to be {kind} ({source}: {value}). Please check, and choose the contrast if it can be examined.")
    return doubt.format(kind=told.other, source=told.source, value=told.value[:80])
