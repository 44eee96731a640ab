"""Fixtures of the scene tests: a small scan with two findings, on several grids, and a MRML scene."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from mrml_application import MrmlApplication, create_mrml_application, load_volume
from slice_views import VIEWS, SliceView, why_not_drawn

from conddiffusion_uad.detection import findings as engine_findings
from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, readDetectionOutput
from CondDiffusionUADLib.scene.Nodes import DetectionNodes
from CondDiffusionUADLib.scene.Scene import addDetection
from CondDiffusionUADLib.scene.Views import Views

THRESHOLD = 2.0
SIZE = (40, 48, 30)  # x, y, z


def _rotation(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    rotation = sitk.VersorTransform(axis, np.deg2rad(degrees))
    return np.array(rotation.GetMatrix()).reshape(3, 3)


# Directions of the voxel axes in LPS, as SimpleITK has them, and spacings in mm.
GRIDS = {
    "axial": (np.eye(3), (1.0, 1.0, 1.0)),
    "flipped": (np.diag((-1.0, -1.0, 1.0)), (1.0, 1.2, 2.0)),
    "left-handed": (np.array(((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0))), (0.9, 0.9, 1.5)),
    "oblique": (_rotation((0.6, -0.3, 0.74), 25.0), (1.1, 0.8, 1.7)),
}


@dataclass(frozen=True)
class Case:
    """A scan file, the output folder of its detection, and the arrays in it as Slicer loads them, axes (z, y, x)."""

    scan: Path
    folder: Path
    score: np.ndarray
    labels: np.ndarray

    @property
    def rows(self) -> list[list[float]]:
        """The engine's table: number, ml, peak, mean and center (R, A, S) of each finding."""
        with (self.folder / "findings.csv").open(newline="", encoding="utf-8") as file:
            return [[float(value) for value in row[:7]] for row in list(csv.reader(file))[1:]]


def make_case(folder: Path, grid: str) -> Case:
    """Write a scan and what a detection would have written: a large finding off the center, and a small one."""
    direction, spacing = GRIDS[grid]
    z, y, x = np.indices(SIZE[::-1])
    score = np.full(SIZE[::-1], 0.6, np.float32)
    score[((x - 28) / 5) ** 2 + ((y - 34) / 6) ** 2 + ((z - 18) / 4) ** 2 <= 1] = 3.4
    score[7:10, 8:12, 9:12] = 2.5
    scan = (300 + 100 * ((x // 8 + y // 8) % 2)).astype(np.int16)

    def image(array: np.ndarray) -> sitk.Image:
        result = sitk.GetImageFromArray(array)
        result.SetSpacing(spacing)
        result.SetOrigin((12.5, -40.25, 7.75))
        result.SetDirection(direction.ravel().tolist())
        return result

    output = folder / "output"
    output.mkdir()
    labels, found = engine_findings.find(image(score), THRESHOLD, 0.0)
    sitk.WriteImage(image(scan), str(folder / "scan_T2.nii.gz"))
    sitk.WriteImage(image(score), str(output / "heatmap.nii.gz"))
    sitk.WriteImage(image(scan.astype(np.float32)), str(output / "reconstruction.nii.gz"))
    sitk.WriteImage(labels, str(output / "segmentation.nii.gz"))
    engine_findings.write_table(found, output / "findings.csv")
    report = {
        "software": {"conddiffusion_uad": "1.2.3"},
        "bundle": {"name": "starter"},
        "parameters": {"contrast": "T2", "threshold": THRESHOLD, "min_volume_ml": 0.0},
    }
    (output / "report.json").write_text(json.dumps(report), encoding="utf-8")
    # Slicer reverses the slices of a left-handed scan, of the input and of what was made from it alike.
    turned = slice(None, None, -1 if np.linalg.det(direction) < 0 else 1)
    return Case(folder / "scan_T2.nii.gz", output, score[turned], sitk.GetArrayFromImage(labels)[turned])


@pytest.fixture(params=GRIDS)
def any_case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """The case on each of the grids."""
    return make_case(tmp_path, request.param)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """The case on the oblique grid."""
    return make_case(tmp_path, "oblique")


@pytest.fixture
def output(case: Case) -> DetectionOutput:
    """What was read from the output folder of the case."""
    return readDetectionOutput(case.folder)


@pytest.fixture
def mrml(tmp_path: Path) -> MrmlApplication:
    """An empty scene."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return create_mrml_application(temporary)


@pytest.fixture
def scan(mrml: MrmlApplication, case: Case) -> Any:
    """The scan of the case in the scene."""
    return load_volume(mrml, case.scan, "scan")


@pytest.fixture
def nodes(mrml: MrmlApplication, scan: Any, output: DetectionOutput) -> DetectionNodes:
    """The results of the case in the scene."""
    return addDetection(mrml.scene, mrml.logics, scan, output)


@pytest.fixture(scope="session")
def _can_draw() -> None:
    if reason := why_not_drawn():
        pytest.skip(reason)


@pytest.fixture
def views(_can_draw: None, mrml: MrmlApplication) -> Iterator[dict[str, SliceView]]:
    """The three slice views; ask for them before the nodes that they shall show."""
    made = {orientation: SliceView(mrml, name, (240, 200)) for name, orientation in VIEWS.items()}
    yield made
    for view in made.values():
        view.close()


@pytest.fixture
def layout(mrml: MrmlApplication) -> Any:
    """The layout of the application."""
    node = slicer.vtkMRMLLayoutNode()
    mrml.scene.AddNode(node)
    node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    return node


@pytest.fixture
def shown(mrml: MrmlApplication, views: dict[str, SliceView], layout: Any, nodes: DetectionNodes) -> Iterator[Views]:
    """The detection of the case in views that stood somewhere and showed the scan."""
    for view in views.values():
        view.composite_node.SetBackgroundVolumeID(nodes.input.GetID())
        view.look_at((20.0, -10.0, 30.0))
    result = Views(mrml.scene)
    result.show(nodes)
    yield result
    result.forget()
