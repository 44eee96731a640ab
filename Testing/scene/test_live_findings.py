"""The findings follow the threshold, the smallest volume and the decisions: exactly as the engine says, and fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene
from scipy import ndimage

from conddiffusion_uad.detection import findings as engine
from CondDiffusionUADLib.scene.Components import Components, linkComponents, linkingSteps
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, OPEN, REJECTED, Decisions
from CondDiffusionUADLib.scene.Findings import FindingsModel
from CondDiffusionUADLib.scene.Heatmap import thresholdOf
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections

IJK_TO_RAS = np.array([[-0.8, 0.0, 0.3, 10.0], [0.1, 1.1, 0.0, -20.0], [0.2, 0.0, 1.6, 5.0], [0.0, 0.0, 0.0, 1.0]])


def noise(shape: tuple[int, int, int], seed: int = 0, sigma: float = 1.5) -> np.ndarray:
    """Scores such that 1 in 10 voxels has 1 or more, 1 in 100 has 2 or more, and so on, as in calibrated tissue."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    ranks = smooth.ravel().argsort()[::-1].argsort().reshape(shape) + 1
    return -np.log10(ranks / ranks.size).astype(np.float32)


def model_of(scores: np.ndarray) -> FindingsModel:
    components = linkComponents(scores, 1.0)
    return FindingsModel(components, IJK_TO_RAS, Decisions(components))


def orthogonal() -> np.ndarray:
    """`IJK_TO_RAS` with its axes made perpendicular, as SimpleITK demands."""
    left, _, right = np.linalg.svd(IJK_TO_RAS[:3, :3] / np.linalg.norm(IJK_TO_RAS[:3, :3], axis=0))
    matrix = IJK_TO_RAS.copy()
    matrix[:3, :3] = (left @ right) * np.linalg.norm(IJK_TO_RAS[:3, :3], axis=0)
    return matrix


def as_image(scores: np.ndarray, matrix: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(scores)
    to_lps = np.diag((-1.0, -1.0, 1.0))
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((to_lps @ matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((to_lps @ matrix[:3, 3]).tolist())
    return image


@pytest.mark.parametrize("threshold", [1.0, 1.3, -np.log10(0.02), 2.0, 3.1, 9.0])
@pytest.mark.parametrize("min_volume_ml", [0.0, 0.02])
def test_findings_are_those_of_the_engine(threshold: float, min_volume_ml: float) -> None:
    scores, matrix = noise((30, 36, 28)), orthogonal()
    components = linkComponents(scores, 1.0)
    ours = FindingsModel(components, matrix, Decisions(components)).select(threshold, min_volume_ml)
    labels, theirs = engine.find(as_image(scores, matrix), threshold, min_volume_ml)
    assert len(ours.findings) == len(theirs) and (threshold > 3 or len(theirs) > 3)
    for mine, finding in zip(ours.findings, theirs, strict=True):
        assert mine.number == finding.number
        assert mine.volumeMl == pytest.approx(finding.volume_ml)
        assert mine.peakScore == pytest.approx(finding.peak_score)
        assert mine.meanScore == pytest.approx(finding.mean_score, rel=1e-4)
        # Where two voxels are equally near to the centroid, rounding decides.
        centroid = np.argwhere(sitk.GetArrayFromImage(labels) == mine.number).mean(axis=0)[::-1]
        away = [
            np.linalg.norm(center - (matrix @ np.append(centroid, 1.0))[:3])
            for center in (mine.centerRas, finding.centre_ras)
        ]
        assert away[0] == pytest.approx(away[1], abs=1e-3)
    numbers = np.zeros(scores.shape, np.uint16)
    numbers[tuple(ours.indices)] = ours.numbers
    np.testing.assert_array_equal(numbers, sitk.GetArrayFromImage(labels))
    mask = np.zeros(scores.shape, bool)
    inside, offset = ours.mask([finding.number for finding in ours.findings])
    mask[tuple(slice(first, first + size) for first, size in zip(offset, inside.shape, strict=True))] = inside
    np.testing.assert_array_equal(mask, numbers > 0)


@pytest.mark.parametrize("scores", [np.zeros((4, 5, 6), np.float32), np.full((4, 5, 6), 1.5, np.float32)])
def test_a_volume_of_one_value_is_no_problem(scores: np.ndarray) -> None:
    selection = model_of(scores).select(1.0, 0.0)
    assert len(selection.findings) == int(scores.max() > 1)
    assert model_of(scores).select(2.0, 0.0).findings == ()


def two_peaks() -> np.ndarray:
    """A high and a low peak, connected by a bridge above 1.5, and a third far away."""
    scores = np.zeros((5, 9, 20), np.float32)
    scores[2, 4, 2:16] = 1.6
    scores[1:4, 3:6, 2:5], scores[1:4, 3:6, 13:16] = 2.6, 2.2
    scores[2, 4, 3], scores[2, 4, 14] = 3.0, 2.4
    scores[2, 7:9, 18:20] = 2.5
    return scores


def decisions_of(components: Components, text: str) -> Decisions:
    decisions = Decisions(components)
    for _step in decisions.restoring(text):
        pass
    return decisions


def decide(model: FindingsModel, threshold: float, number: int, status: str) -> None:
    """Decide about the finding of this number at this threshold."""
    model.decisions.decide(model.select(threshold, 0.0).findings[number - 1].peak, threshold, status)


def statuses(model: FindingsModel, threshold: float) -> dict[float, str]:
    """The status of each finding, by its peak score."""
    return {round(found.peakScore, 2): found.status for found in model.select(threshold, 0.0).findings}


def test_a_rejected_finding_stays_rejected_while_it_grows_and_shrinks_but_not_as_a_part_of_a_higher_one() -> None:
    model = model_of(two_peaks())
    number = next(found.number for found in model.select(2.0, 0.0).findings if round(found.peakScore, 2) == 2.4)
    decide(model, 2.0, number, REJECTED)
    assert statuses(model, 2.0) == {3.0: OPEN, 2.4: REJECTED, 2.5: OPEN}
    assert statuses(model, 2.3) == {3.0: OPEN, 2.4: REJECTED, 2.5: OPEN}
    assert statuses(model, 1.5) == {3.0: OPEN, 2.5: OPEN}
    decide(model, 1.5, 1, REJECTED)
    assert statuses(model, 2.0) == {3.0: REJECTED, 2.4: REJECTED, 2.5: OPEN}
    decide(model, 2.0, 1, ACCEPTED)
    assert statuses(model, 2.0) == {3.0: ACCEPTED, 2.4: REJECTED, 2.5: OPEN}
    again = decisions_of(model.components, model.decisions.text())
    for place in range(30):
        assert again.statusOf((0, 0, 0), place) == model.decisions.statusOf((0, 0, 0), place)


@pytest.mark.parametrize("text", ["", "[", "7", '[[1, 2, "rejected"]]', '[[[1, 2, 3], 2.0, "perhaps"]]', "null"])
def test_decisions_that_cannot_be_understood_are_left_out(text: str) -> None:
    assert decisions_of(linkComponents(two_peaks(), 1.0), text).text() == "[]"


@pytest.fixture
def live(mrml: MrmlApplication, nodes: DetectionNodes) -> LiveFindings:
    """The findings of the case, found in the scene."""
    return LiveFindings.fromScene(mrml.logics.segmentations, nodes)


def segment_size(nodes: DetectionNodes) -> int:
    image = nodes.segmentation.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    return int(np.frombuffer(image.GetPointData().GetScalars(), np.uint8).astype(bool).sum())


def test_segmentation_table_and_heatmap_follow(live: LiveFindings, case: Any) -> None:
    for threshold, findings in ((2.0, 2), (3.0, 1), (1.2, 2), (4.0, 0)):
        live.show(threshold, 0.0)
        assert thresholdOf(live.nodes.heatmap) == threshold
        assert live.nodes.findings.GetNumberOfRows() == findings == len(live.selection.findings)
        assert segment_size(live.nodes) == (case.score >= threshold).sum()
    live.show(2.0, 0.3)
    assert live.nodes.findings.GetNumberOfRows() == 1


def test_a_rejected_finding_leaves_the_segmentation_and_is_remembered_in_the_scene(
    mrml: MrmlApplication, live: LiveFindings, case: Any, tmp_path: Path
) -> None:
    live.show(2.25, 0.01)
    live.decide(1, REJECTED)
    assert live.nodes.findings.GetTable().GetValue(0, 7).ToString() == REJECTED
    assert segment_size(live.nodes) == (case.labels == 2).sum()
    np.testing.assert_array_equal(live.numbers(), np.where(case.labels == 2, 2, 0))
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    load_scene(again, tmp_path / "scene.mrb")
    loaded = LiveFindings.fromScene(again.logics.segmentations, findDetections(again.scene)[0])
    assert (loaded.threshold, loaded.minVolumeMl) == (2.25, 0.01)
    assert [finding.status for finding in loaded.selection.findings] == [REJECTED, OPEN]
    loaded.show(2.0, 0.0)
    assert segment_size(loaded.nodes) == (case.labels == 2).sum()
    loaded.decide(1, OPEN)
    assert segment_size(loaded.nodes) == (case.labels > 0).sum()


def test_surfaces_are_shown_and_follow(live: LiveFindings) -> None:
    assert not live.shownInThreeD
    live.showInThreeD(True)
    assert live.shownInThreeD
    surface = live.nodes.segmentation.GetClosedSurfaceInternalRepresentation("CandidateAnomaly")
    points = surface.GetNumberOfPoints()
    live.show(3.0, 0.0)
    surface = live.nodes.segmentation.GetClosedSurfaceInternalRepresentation("CandidateAnomaly")
    assert 0 < surface.GetNumberOfPoints() < points
    live.showInThreeD(False)
    assert not live.shownInThreeD
    live.nodes.segmentation.GetDisplayNode().SetVisibility(False)
    live.showInThreeD(True)
    assert live.shownInThreeD and live.nodes.segmentation.GetDisplayNode().GetVisibility()


def test_linking_goes_in_small_steps() -> None:
    scores, result = noise((60, 60, 60)), []
    assert sum(1 for _ in linkingSteps(scores, 1.0, result)) > 10
    assert len(result[0].scores) == (scores >= 1.0).sum()
