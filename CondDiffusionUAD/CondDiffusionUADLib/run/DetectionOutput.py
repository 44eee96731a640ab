"""Reads what ``conddiffusion-uad detect`` wrote: the report, and the volumes in small steps, outside of the scene."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from conddiffusion_uad.protocol.result_files import HEATMAP, OVERVIEW, RECONSTRUCTION, REPORT, UNCERTAINTY
from CondDiffusionUADLib.scene.Components import Components, linkComponents, linkingSteps
from CondDiffusionUADLib.scene.Heatmap import SCORE_RANGE
from CondDiffusionUADLib.scene.Nodes import matrixOf, voxels, vtkMatrix


class DetectionOutputError(ValueError):
    """The folder does not hold the complete results of a detection."""


@dataclass(frozen=True)
class DetectionOutput:
    """The results of one detection: where the volumes lie, the findings, and how they were made.

    Attributes:
        folder: The folder that holds the results.
        threshold: The anomaly score from which a voxel belongs to a finding.
        minVolumeMl: The smallest volume of a finding in ml.
        contrast: T1, T2 or FLAIR.
        bundle: Name of the model bundle.
        version: Version of the engine.
        report: The whole report of the run, JSON.
    """

    folder: Path
    threshold: float
    minVolumeMl: float
    contrast: str
    bundle: str
    version: str
    report: str

    @property
    def heatmap(self) -> Path:
        """Anomaly score, float32, on the grid of the input."""
        return self.folder / HEATMAP

    @property
    def reconstruction(self) -> Path:
        """What the model thinks this brain would look like healthy, in the intensities of the input."""
        return self.folder / RECONSTRUCTION

    @property
    def uncertainty(self) -> Path:
        """Standard error of the anomaly score, float32, on the grid of the input; missing unless it was asked for."""
        return self.folder / UNCERTAINTY

    @property
    def volumes(self) -> list[Path]:
        """The files of :class:`ResultVolumes`, in its order."""
        return [self.heatmap, self.reconstruction, *([self.uncertainty] if self.uncertainty.is_file() else [])]

    @property
    def overview(self) -> Path:
        """A page with slices through the first finding; may be missing."""
        return self.folder / OVERVIEW


def readDetectionOutput(folder: str | Path) -> DetectionOutput:
    """Read the results of a detection from its output folder.

    Raises:
        DetectionOutputError: A file is missing or cannot be understood.
    """
    folder = Path(folder)
    for name in (REPORT, HEATMAP, RECONSTRUCTION):
        if not (folder / name).is_file():
            raise DetectionOutputError(f"{folder} does not hold a finished detection: {name} is missing.")
    try:
        text = (folder / REPORT).read_text(encoding="utf-8")
        report = json.loads(text)
        return DetectionOutput(
            folder=folder,
            threshold=float(report["parameters"]["threshold"]),
            minVolumeMl=float(report["parameters"]["min_volume_ml"]),
            contrast=str(report["parameters"]["contrast"]),
            bundle=str(report["bundle"]["name"]),
            version=str(report["software"]["conddiffusion_uad"]),
            report=text,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DetectionOutputError(f"The report in {folder} cannot be understood: {error!r}.") from error


_MOST_VOXEL, _MOST_HEADER = 8, 1 << 20  # bytes of a voxel, and of all else in a file
_CHUNK = 1 << 20  # compressed bytes a step: some hundredths of a second


class UnreadableVolumeError(ValueError):
    """A file cannot be read as a volume."""


@dataclass(frozen=True)
class ResultVolumes:
    """The volumes of a detection as nodes that are in no scene yet, and the linked voxels of the heatmap."""

    heatmap: Any
    reconstruction: Any
    components: Components
    uncertainty: Any = None

    @classmethod
    def of(cls, nodes: Sequence[Any], components: Components) -> ResultVolumes:
        """From the nodes of `DetectionOutput.volumes`."""
        return cls(nodes[0], nodes[1], components, *nodes[2:])

    @property
    def nodes(self) -> list[Any]:
        """The volumes that there are."""
        return [node for node in (self.heatmap, self.reconstruction, self.uncertainty) if node is not None]


def readResults(output: DetectionOutput, scan: Any) -> ResultVolumes:
    """Read the volumes of a detection at once.

    Args:
        output: The results.
        scan: The volume that was examined.

    Raises:
        UnreadableVolumeError: A file is damaged.
    """
    nodes = [readVolume(path) for path in output.volumes]
    for node in nodes:
        takeHandedness(node, scan)
    return ResultVolumes.of(nodes, linkComponents(voxels(nodes[0]), SCORE_RANGE[0]))


def readingSteps(output: DetectionOutput, scan: Any, scratch: Path, result: list[ResultVolumes]) -> Iterator[None]:
    """`readResults` in small steps.

    Args:
        output: The results.
        scan: The volume that was examined.
        scratch: An existing folder for unpacked files.
        result: Receives the volumes at the end.

    Raises:
        UnreadableVolumeError: A file is damaged.
        OSError: The scratch folder cannot be written to.
    """
    nodes = []
    for packed in output.volumes:
        unpacked = scratch / packed.name.removesuffix(".gz")
        yield from _unpack(packed, unpacked, _MOST_HEADER + _MOST_VOXEL * scan.GetImageData().GetNumberOfPoints())
        nodes.append(readVolume(unpacked))
        unpacked.unlink()
        takeHandedness(nodes[-1], scan)
        yield
        # VTK computes the range once and remembers it; the display would ask for it later.
        nodes[-1].GetImageData().GetScalarRange()
        yield
    components: list[Components] = []
    yield from linkingSteps(voxels(nodes[0]), SCORE_RANGE[0], components)
    result.append(ResultVolumes.of(nodes, components[0]))


def readVolume(path: Path) -> Any:
    """A volume node from a file, in no scene. Raises UnreadableVolumeError."""
    node, storage = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetSingleFile(True)
    if not storage.ReadData(node) or node.GetImageData() is None:
        raise UnreadableVolumeError(f"{path.name} cannot be read as a volume.")
    return node


def takeHandedness(node: Any, scan: Any) -> None:
    """Reverse the slices of a volume when Slicer did so as it read it, and the scan's are in the other order.

    Slicer makes the axes of what it reads right-handed; the axes of a scan that was made otherwise may be left-handed.
    """
    theirs, ours = (np.linalg.det(matrixOf(volume)[:3, :3]) for volume in (scan, node))
    if theirs * ours < 0:
        matrix, array = matrixOf(node), voxels(node)
        array[:] = array[::-1].copy()
        matrix[:3, 3] += matrix[:3, 2] * (len(array) - 1)
        matrix[:3, 2] *= -1
        node.SetIJKToRASMatrix(vtkMatrix(matrix))


def _unpack(packed: Path, unpacked: Path, most: int) -> Iterator[None]:
    """Unpack a gzip file of at most so many bytes in steps."""
    unpacker = zlib.decompressobj(wbits=31)
    left = most
    try:
        with packed.open("rb") as source, unpacked.open("wb") as target:
            while chunk := source.read(_CHUNK):
                data = unpacker.decompress(chunk, left + 1)
                left -= len(data)
                if left < 0:
                    raise UnreadableVolumeError(f"{packed.name} is larger than a result for this scan can be.")
                target.write(data)
                yield
    except zlib.error as error:
        raise UnreadableVolumeError(f"{packed.name} is damaged.") from error
    if not unpacker.eof:
        raise UnreadableVolumeError(f"{packed.name} is damaged.")
