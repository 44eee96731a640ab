"""A detection without the panel: from the scan in the scene to the results in the scene, with the real worker."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from mrml_application import MrmlApplication, load_volume
from run_listener import RunListener
from standin.application import Application

Wait = Callable[..., float]
LONG = tuple(range(1, 1001))  # noise levels that keep the worker busy for minutes


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def files_in(app: Application) -> list[Path]:
    """The files in the temporary folder; a worker that stays has an empty folder of its own there."""
    return [path for path in Path(app.temporaryPath).rglob("*") if not path.is_dir()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_detect_waits_and_returns_the_nodes_without_any_dialog(
    app: Application, mrml: MrmlApplication, scan: Any, small_bundle: Path
) -> None:
    from CondDiffusionUAD import CondDiffusionUADLogic

    listener = RunListener()
    logic = CondDiffusionUADLogic()
    nodes = logic.detect(scan, bundle=str(small_bundle), device="cpu", listener=listener)
    assert nodes.input is scan
    assert nodes.heatmap.GetImageData().GetDimensions() == scan.GetImageData().GetDimensions()
    report = json.loads(nodes.report.GetText())
    assert report["parameters"]["contrast"] == "T1" and report["bundle"]["name"] == "small"
    assert "scan.nrrd" not in nodes.report.GetText() and "ball" not in nodes.report.GetText()
    assert listener.stages[0] == "export" and listener.stages[-1] == "import" and "reconstruct" in listener.stages
    assert listener.fractions == sorted(listener.fractions) and listener.fractions[-1] == 1.0
    assert nodes.findings.GetNumberOfRows() == report["findings"]["count"]
    fast = logic.detect(scan, bundle=str(small_bundle), device="cpu", quality="fast", contrast="T1", seed=3)
    report = json.loads(fast.report.GetText())
    assert report["parameters"]["levels"] == [500] and report["parameters"]["seed"] == 3
    assert report["seconds"]["load"] < 0.5, "the model was kept warm"


@pytest.fixture
def long_run(app: Application, scan: Any, small_bundle: Path) -> tuple[Any, RunListener]:
    """A run of the real worker that takes minutes: its logic and its listener."""
    from CondDiffusionUADLib.run.Application import detectionLogic
    from CondDiffusionUADLib.run.DetectionRun import Settings

    listener = RunListener()
    settings = Settings(bundle=str(small_bundle), contrast="T1", device="cpu", levels=LONG)
    detectionLogic().start(scan, settings, listener)
    return detectionLogic(), listener


def test_cancelling_the_real_worker_in_the_middle_of_a_reconstruction(
    app: Application, mrml: MrmlApplication, long_run: tuple[Any, RunListener], wait_until: Wait
) -> None:
    logic, listener = long_run
    before = node_ids(mrml.scene)
    wait_until(lambda: "reconstruct" in listener.stages)
    assert files_in(app) != []
    logic.cancel()
    assert wait_until(lambda: listener.outcome, 10) < 3
    assert listener.outcome.problem.code == "cancelled" and listener.outcome.nodes is None
    assert node_ids(mrml.scene) == before and files_in(app) == []
    # Quitting, with the warm worker there, and killing it while it works.
    process = logic.workerProcessId
    assert is_alive(process)
    begin = time.monotonic()
    app.send("aboutToQuit()")
    assert time.monotonic() - begin < 3 and not is_alive(process)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
def test_killing_the_real_worker(
    app: Application, mrml: MrmlApplication, long_run: tuple[Any, RunListener], wait_until: Wait
) -> None:
    logic, listener = long_run
    before = node_ids(mrml.scene)
    wait_until(lambda: "read" in listener.stages)
    os.kill(logic.workerProcessId, 9)
    wait_until(lambda: listener.outcome, 10)
    assert listener.outcome.problem.code == "worker_died"
    assert node_ids(mrml.scene) == before and files_in(app) == []


def test_a_refusal_of_the_real_engine_is_told(app: Application, mrml: MrmlApplication, tmp_path: Path) -> None:
    from CondDiffusionUAD import CondDiffusionUADLogic
    from CondDiffusionUADLib.run.Problems import ProblemError

    labels = sitk.GetImageFromArray((np.indices((40, 40, 40)).sum(axis=0) > 60).astype(np.int16))
    labels.SetSpacing((3.0, 3.0, 3.0))
    sitk.WriteImage(labels, str(tmp_path / "labels.nrrd"))
    volume = load_volume(mrml, tmp_path / "labels.nrrd", "labels")
    with pytest.raises(ProblemError, match=r"looks like a label map.* Choose the scan itself: .* \"Run anyway\": then"):
        CondDiffusionUADLogic().detect(volume, contrast="T1")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contrast": "T9"}, "contrast"),
        ({"device": "abacus"}, "device"),
        ({"healthyFlagged": 0.5}, "healthyFlagged"),
        ({"minVolumeMl": -1.0}, "min volume ml"),
        ({"skull": "maybe"}, "skull"),
        ({"seed": -1}, "seed"),
        ({"bundle": "none of that name"}, "no model none of that name"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(
    app: Application, scan: Any, options: dict[str, Any], words: str
) -> None:
    from CondDiffusionUAD import CondDiffusionUADLogic
    from CondDiffusionUADLib.run.Problems import ProblemError

    with pytest.raises(ProblemError, match=words):
        CondDiffusionUADLogic().detect(scan, **options)


def test_volumes_that_cannot_be_scans_are_refused_at_once(app: Application, mrml: MrmlApplication) -> None:
    import slicer
    from vtk.util import numpy_support

    from CondDiffusionUAD import CondDiffusionUADLogic
    from CondDiffusionUADLib.run.Problems import ProblemError

    volume = mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    with pytest.raises(ProblemError, match="empty"):
        CondDiffusionUADLogic().detect(volume)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(4, 4, 4)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(np.zeros((64, 3), np.uint8), deep=True))
    volume.SetAndObserveImageData(image)
    with pytest.raises(ProblemError, match="in color"):
        CondDiffusionUADLogic().detect(volume)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(np.zeros(64, np.uint8), deep=True))
    volume.SetName("brain")
    with pytest.raises(ProblemError, match="Neither the DICOM tags nor the name"):
        CondDiffusionUADLogic().detect(volume)
