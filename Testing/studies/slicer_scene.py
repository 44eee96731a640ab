"""Drives the scene side in the real 3D Slicer: what a drag edits, how long the slider and a scene load take, pictures.

The detection is made before, on the command line, so that this needs no worker::

    conddiffusion-uad detect Resources/SampleData/synthetic_T2_brain.nii.gz --output DETECTION \\
        --bundle residual
    DETECTION=... OUT=... MALLOC_PERTURB_=165 Slicer --no-splash --additional-module-paths CondDiffusionUAD \
        --python-script Testing/studies/slicer_scene.py

Ends with the number of checks that failed; figures and pictures lie in OUT. Times are given by the clock and, for
computers that do other things too, by what the thread itself computed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("OUT", "/tmp/slicer_scene"))
OUT.mkdir(parents=True, exist_ok=True)
faulthandler.enable((OUT / "fault.txt").open("w"))
sys.path.insert(0, str(ROOT / "CondDiffusionUAD"))

from CondDiffusionUADLib.run.Application import moduleLogics  # noqa: E402
from CondDiffusionUADLib.run.DetectionOutput import readDetectionOutput, readResults  # noqa: E402
from CondDiffusionUADLib.scene.BrainSurface import showingBrainSteps  # noqa: E402
from CondDiffusionUADLib.scene.CandidateSegmentation import segmentIds  # noqa: E402
from CondDiffusionUADLib.scene.Decisions import Kept  # noqa: E402
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings  # noqa: E402
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, placeProblem  # noqa: E402
from CondDiffusionUADLib.scene.Scene import addDetection  # noqa: E402
from CondDiffusionUADLib.scene.Views import MODES, Views  # noqa: E402

DECISIONS = 50
LONGEST_STEP_S = 0.2

failed: list[str] = []
figures: dict[str, Any] = {}


def let_slicer_work(seconds: float = 0.3) -> None:
    """Handle events for a while."""
    end = time.time() + seconds
    while time.time() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def picture(name: str) -> None:
    """Write what the main window shows."""
    let_slicer_work(0.5)
    slicer.util.mainWindow().grab().save(str(OUT / f"{name}.png"))


def check(name: str, holds: bool) -> None:
    """Note whether something holds."""
    print("ok  " if holds else "FAIL", name, flush=True)
    if not holds:
        failed.append(name)


def timed(name: str, action: Callable[[], Any]) -> Any:
    """Do something and let the views draw; notes seconds by the clock and seconds computed."""
    wall, computed = time.perf_counter(), time.thread_time()
    result = action()
    slicer.app.processEvents()
    times = (round(time.perf_counter() - wall, 3), round(time.thread_time() - computed, 3))
    figures.setdefault(name, []).append(times)
    return result


def drag(view: str) -> None:
    """Drag with the left button across a view, in the window/level mode."""
    mode = slicer.vtkMRMLInteractionNode.AdjustWindowLevel
    slicer.app.applicationLogic().GetInteractionNode().SetCurrentInteractionMode(mode)
    widget = slicer.app.layoutManager().sliceWidget(view).sliceView()
    interactor, x, y = widget.interactor(), widget.width // 2, widget.height // 2
    steps = [("MouseMoveEvent", 0), ("LeftButtonPressEvent", 0)]
    steps += [("MouseMoveEvent", step) for step in range(4, 80, 4)] + [("LeftButtonReleaseEvent", 80)]
    for event, moved in steps:
        interactor.SetEventInformation(x + moved, y + moved // 2, 0, 0, chr(0), 0, None)
        interactor.InvokeEvent(event)
    slicer.app.applicationLogic().GetInteractionNode().SetCurrentInteractionMode(mode - mode)
    let_slicer_work()


def window(volume: Any) -> float:
    """The window of a volume's display."""
    return float(volume.GetDisplayNode().GetWindow())


def load_and_detect() -> tuple[DetectionNodes, LiveFindings, Views]:
    """The sample scan with the results of its detection, shown."""
    scan = slicer.util.loadVolume(str(ROOT / "Resources" / "SampleData" / "synthetic_T2_brain.nii.gz"))
    output = readDetectionOutput(os.environ["DETECTION"])
    volumes = readResults(output, scan)
    for node in (volumes.heatmap, volumes.reconstruction):
        node.GetImageData().GetScalarRange()  # as the steps of a real run do
    let_slicer_work(1)
    logics = moduleLogics()
    nodes = timed("results added", lambda: addDetection(slicer.mrmlScene, logics, scan, output, volumes))
    live = timed("taken up", lambda: LiveFindings.fromScene(logics.segmentations, nodes, volumes.components))
    views = Views(slicer.mrmlScene, lambda: qt.QTimer.singleShot(0, views.align))
    timed("shown", lambda: views.show(nodes))
    return nodes, live, views


def look_around(nodes: DetectionNodes, live: LiveFindings, views: Views) -> None:
    """Jump, drag, every mode, 3D, and the way back."""
    timed("jump", lambda: views.jump(live.selection.findings[0].centerRas))
    picture("1_found")
    before = window(nodes.input), window(nodes.heatmap)
    drag("Red")
    check("a drag changes the scan's window", window(nodes.input) != before[0])
    check("and not the heatmap's scale", window(nodes.heatmap) == before[1])
    check("the reconstruction follows", window(nodes.reconstruction) == window(nodes.input))
    for mode in MODES:
        timed(f"mode {mode}", lambda mode=mode: views.show(nodes, mode))
        picture(f"2_{mode}")
    views.restore()
    picture("3_restored")
    views.show(nodes)
    live.showInThreeD(True)
    for _step in showingBrainSteps(nodes):
        pass
    picture("4_in_3d")
    live.showInThreeD(False)


def review(live: LiveFindings, views: Views) -> None:
    """The slider, decisions, and the Segment Editor."""
    for threshold in (1.0, 1.2, 1.5, 1.8, 2.0, 2.5, 3.0, 2.0):
        timed("slider, coarse", lambda t=threshold: live.preview(t))
        timed("slider, exact", lambda t=threshold: live.show(t, 0.05))
    timed("accepted", lambda: live.decide(1, "accepted"))
    timed("rejected", lambda: live.decide(2, "rejected"))
    picture("5_reviewed")
    copy = live.editableCopy()
    slicer.util.selectModule("SegmentEditor")
    let_slicer_work(1)
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(copy)
    editor.setSourceVolumeNode(live.nodes.input)
    first = copy.GetSegmentation().GetNthSegmentID(0)
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(copy, first, live.nodes.input)
    size = int(voxels.sum())
    voxels[:, :, : int(np.median(np.nonzero(voxels)[2]))] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, copy, first, live.nodes.input)
    picture("6_in_the_segment_editor")
    slicer.util.selectModule("Data")
    check("the edit is taken over", timed("edit taken over", live.refresh))
    live.show(3.0, 0.05)
    live.show(2.0, 0.05)
    remaining = int((live.numbers() == 1).sum())
    check(f"and stays: {size} voxels, then {remaining}", remaining == int(voxels.sum()))
    picture("7_edited")


def decide_on_many(live: LiveFindings) -> None:
    """Fifty decisions, at the sensitivities that give so many findings."""
    statuses = ("accepted", "rejected")
    decided = sum(finding.status in statuses for finding in live.selection.findings)
    for threshold in (2.0, 1.5, 1.2, 1.0):
        live.show(threshold, 0.01)
        for finding in live.selection.findings:
            if decided < DECISIONS and finding.status not in statuses and not finding.segment:
                timed("a decision", lambda n=finding.number: live.decide(n, statuses[n % 2]))
                decided += 1
    kept = len(json.loads(Kept(live.nodes.heatmap).decisions))
    check(f"{kept} decisions are kept", kept >= DECISIONS)


def save_and_load(live: LiveFindings) -> None:
    """A scene file, an import into the full scene, and another scene."""
    before = [(finding.volumeMl, finding.status) for finding in live.selection.findings]
    check("the scene is saved", slicer.util.saveScene(str(OUT / "scene.mrb")))
    slicer.mrmlScene.Clear(False)
    let_slicer_work(1)
    timed("a scene is loaded", lambda: slicer.util.loadScene(str(OUT / "scene.mrb")))
    let_slicer_work(1)
    (nodes,) = findDetections(slicer.mrmlScene)
    views, result = Views(slicer.mrmlScene), []
    check("the views show the result", views.resume(nodes, "heatmap", 0.6, 0.5))
    work = LiveFindings.openingSteps(moduleLogics().segmentations, nodes, result)
    while not result:
        timed("a step of taking up a loaded scene", lambda: next(work))
    again = [(finding.volumeMl, finding.status) for finding in result[0].selection.findings]
    check("volumes and decisions are as they were", again == before)
    display, segments = nodes.segmentation.GetDisplayNode(), nodes.segmentation.GetSegmentation().GetSegmentIDs()
    check("all outlines are shown", all(display.GetSegmentVisibility(name) for name in segments))
    computed = [times[1] for times in figures["a step of taking up a loaded scene"]]
    check(f"no step of {len(computed)} computes for {LONGEST_STEP_S} s", max(computed) < LONGEST_STEP_S)
    picture("8_loaded")
    keep_hidden(views, result[0])
    (nodes,) = findDetections(slicer.mrmlScene)
    slicer.mrmlScene.ReadFromMRB(str(OUT / "scene.mrb"), False)
    check("an import keeps both results", len(findDetections(slicer.mrmlScene)) == 2)
    nodes.input.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    check("a scan under an identity is where it was", placeProblem(nodes) == "")
    views.forget()


def keep_hidden(views: Views, live: LiveFindings) -> None:
    """What the user hid is hidden in the scene that is loaded: one segment, and then the segmentation."""
    for whole in (False, True):
        nodes = live.nodes
        display, name = nodes.segmentation.GetDisplayNode(), segmentIds(nodes.segmentation)[0]
        display.SetSegmentVisibility(name, False)
        display.SetVisibility(not whole)
        live.keepHidden()
        slicer.util.saveScene(str(OUT / "hidden.mrb"))
        views.forget()
        slicer.mrmlScene.Clear(False)
        let_slicer_work(0.5)
        slicer.util.loadScene(str(OUT / "hidden.mrb"))
        let_slicer_work(0.5)
        (nodes,) = findDetections(slicer.mrmlScene)
        views.resume(nodes, "heatmap", 0.6, 0.5)
        live = LiveFindings.fromScene(moduleLogics().segmentations, nodes)
        display = nodes.segmentation.GetDisplayNode()
        shown = [display.GetSegmentVisibility(other) for other in segmentIds(nodes.segmentation)]
        check("the hidden segment is hidden, the others are shown", shown == [False] + [True] * (len(shown) - 1))
        check("and the segmentation is as it was", bool(display.GetVisibility()) != whole)


def main() -> None:
    """Everything, in the order a reader would do it."""
    slicer.util.mainWindow().setGeometry(slicer.app.desktop().screenGeometry())
    slicer.util.selectModule("Data")
    try:
        nodes, live, views = load_and_detect()
        look_around(nodes, live, views)
        review(live, views)
        views.forget()
        decide_on_many(live)
        save_and_load(live)
    except Exception:
        failed.append("no exception")
        traceback.print_exc()
    slowest = {name: [max(column) for column in zip(*times, strict=True)] for name, times in figures.items()}
    (OUT / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name, (wall, computed) in slowest.items():
        print(f"{name:40} at most {wall:.3f} s, of which computing {computed:.3f} s", flush=True)
    print(f"{len(failed)} failed {failed}", flush=True)
    slicer.util.exit(len(failed))


main()
