"""A detection without the panel: from the scan in the scene to the results in the scene, with the real worker."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrml_application import MrmlApplication
from run_listener import RunListener
from standin.application import Application

Wait = Callable[..., float]


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


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
