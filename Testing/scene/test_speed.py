"""Nothing holds the application up: slider and scene load, at 1 mm, with slice views that really draw."""

from __future__ import annotations

import numpy as np
import pytest
from fair_clock import fair_clock
from mrml_application import MrmlApplication
from scipy import ndimage
from slice_views import SliceView
from vtk.util import numpy_support

from CondDiffusionUADLib.scene.Colors import showColored
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, REJECTED
from CondDiffusionUADLib.scene.Heatmap import SCORE
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, matrixOf
from CondDiffusionUADLib.scene.Views import Views

SLIDE_MS, STALL_MS = 100, 200


def calibrated_noise(shape: tuple[int, int, int], sigma: float) -> np.ndarray:
    """Scores as in healthy tissue: 1 in 10 voxels has 1 or more, 1 in 100 has 2 or more, and so on."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), sigma)
    ranks = smooth.ravel().argsort()[::-1].argsort().reshape(shape) + 1
    return -np.log10(ranks / ranks.size).astype(np.float32)


@pytest.fixture
def whole_brain(mrml: MrmlApplication, nodes: DetectionNodes) -> DetectionNodes:
    """A detection with 1.45 million voxels of brain in 8.7 million, of which 145,000 are above the lowest score."""
    scores = np.zeros((189, 233, 197), np.float32)
    scores[35:155, 60:170, 45:155] = calibrated_noise((120, 110, 110), 2.5)
    for node in (nodes.input, nodes.heatmap, nodes.reconstruction):
        image = node.GetImageData()
        image.SetDimensions(197, 233, 189)
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(scores.ravel(), deep=True))
    showColored(mrml.scene, nodes.heatmap, SCORE, 2.0)
    nodes.segmentation.GetSegmentation().RemoveAllSegments()  # they are of the volume that was there before
    nodes.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(nodes.input)
    return nodes


def test_the_slider_with_views_that_draw(
    views: dict[str, SliceView], mrml: MrmlApplication, whole_brain: DetectionNodes
) -> None:
    """Threshold, findings, segmentation, table and three drawn views, with 10 accepted findings."""
    live = LiveFindings.fromScene(mrml.logics.segmentations, whole_brain)
    Views(mrml.scene).show(whole_brain)
    center = (matrixOf(whole_brain.heatmap) @ (100, 115, 95, 1))[:3]
    for view in views.values():
        view.look_at(center)
        view.picture()
    for number in range(1, 21):
        live.decide(number, ACCEPTED if number % 2 else REJECTED)
    whole, drawn, clock = [], [], fair_clock()
    for threshold in (1.0, 1.05, 1.2, 1.4, 1.7, 2.0, 3.0, 1.0):
        begin = clock()
        live.show(threshold, 0.05)
        middle = clock()
        for view in views.values():
            view.draw()
        whole.append(1000 * (clock() - begin))
        drawn.append(1000 * (clock() - middle))
    shown = ", ".join(f"{total:.0f} ({part:.0f})" for total, part in zip(whole, drawn, strict=True))
    print(f"slider with views (of which drawing): {shown} ms")
    assert max(whole) < SLIDE_MS


def test_a_dragged_slider_shows_its_steps_coarsely_and_faster(
    views: dict[str, SliceView], mrml: MrmlApplication, whole_brain: DetectionNodes
) -> None:
    live = LiveFindings.fromScene(mrml.logics.segmentations, whole_brain)
    Views(mrml.scene).show(whole_brain)
    for view in views.values():
        view.picture()  # drawn for the first time before anybody can drag
    before, clock, spent = live.selection, fair_clock(), []
    for threshold in (1.0, 1.5, 3.0):
        begin = clock()
        live.preview(threshold)
        for view in views.values():
            view.draw()
        spent.append(1000 * (clock() - begin))
    assert live.selection is before
    live.show(3.0, 0.05)
    assert len(live.selection.findings) < len(before.findings)
    print(f"coarse steps with views: {', '.join(f'{value:.0f}' for value in spent)} ms")
    assert max(spent) < SLIDE_MS


def test_a_reviewed_scene_is_taken_up_in_small_steps(mrml: MrmlApplication, whole_brain: DetectionNodes) -> None:
    """50 decisions, each of which takes some hundredths of a second."""
    live = LiveFindings.fromScene(mrml.logics.segmentations, whole_brain)
    live.show(1.0, 0.05)
    for number in range(1, 51):
        live.decide(number, ACCEPTED if number % 3 else REJECTED)
    statuses = [finding.status for finding in live.selection.findings]
    steps, result, clock = [], [], fair_clock()
    work = LiveFindings.openingSteps(mrml.logics.segmentations, whole_brain, result)
    while not result:
        begin = clock()
        next(work)
        steps.append(1000 * (clock() - begin))
    print(f"{len(steps)} steps, {sum(steps):.0f} ms, longest {max(steps):.0f} ms")
    assert [finding.status for finding in result[0].selection.findings] == statuses and not result[0].edited
    assert len(steps) > 60 and max(steps) < STALL_MS
