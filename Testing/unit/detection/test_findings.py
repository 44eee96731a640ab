"""Findings: connected, above the threshold, large enough, numbered and measured."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.detection import findings
from conddiffusion_uad.detection.findings import find

TILTED = tuple(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix())


def score_image(array: np.ndarray, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> sitk.Image:
    """A tilted score image with 8 mm³ voxels."""
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin((-30.0, 20.0, 5.0))
    image.SetDirection(TILTED)
    return image


def test_volume_scores_and_center_are_measured_in_the_patient() -> None:
    array = np.zeros((12, 14, 16))
    array[2:5, 3:6, 4:7] = 3.0
    array[3, 4, 5] = 9.0
    image = score_image(array)
    labels, (finding,) = find(image, 2.0, 0.05)
    x, y, z = image.TransformIndexToPhysicalPoint((5, 4, 3))
    assert finding.number == 1
    assert finding.volume_ml == pytest.approx(27 * 8 / 1000)
    assert finding.peak_score == 9.0
    assert finding.mean_score == pytest.approx((26 * 3 + 9) / 27)
    assert finding.centre_ras == pytest.approx((-x, -y, z))
    assert labels.GetPixelID() == sitk.sitkUInt16
    assert labels.GetDirection() == image.GetDirection() and labels.GetOrigin() == image.GetOrigin()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), array >= 2.0)


def test_a_score_at_the_threshold_belongs() -> None:
    array = np.zeros((8, 8, 8))
    array[1, 1, 1], array[6, 6, 6] = 2.0, np.nextafter(np.float32(2.0), np.float32(0))
    _, found = find(score_image(array), 2.0, 0.0)
    assert [finding.peak_score for finding in found] == [2.0]


def test_voxels_that_touch_at_a_corner_are_one_finding() -> None:
    array = np.zeros((8, 8, 8))
    array[2, 2, 2] = array[3, 3, 3] = 5.0
    array[6, 6, 6] = 5.0
    _, found = find(score_image(array), 2.0, 0.0)
    assert [round(finding.volume_ml * 1000) for finding in found] == [16, 8]


def test_what_is_too_small_is_dropped_and_the_rest_is_numbered_without_gaps() -> None:
    array = np.zeros((20, 20, 20))
    array[1:3, 1:3, 1:3] = 5.0  # 64 mm³
    array[6, 6, 6] = 9.0  # 8 mm³
    array[10:14, 10:14, 10:14] = 3.0  # 512 mm³
    labels, found = find(score_image(array), 2.0, 0.05)
    values = sitk.GetArrayFromImage(labels)
    assert [finding.number for finding in found] == [1, 2]
    assert values[12, 12, 12] == 1 and values[1, 1, 1] == 2 and values[6, 6, 6] == 0


@pytest.mark.parametrize(
    ("spacing", "smallest_ml"),
    [((1.0, 2.0, 5.0), 0.05), ((1.2, 1.0, 1.0), 0.006)],  # 0.006 / 0.0012 is computed as 5.000000000000001
)
def test_the_smallest_volume_itself_is_large_enough(spacing: tuple[float, float, float], smallest_ml: float) -> None:
    array = np.zeros((8, 8, 8))
    array[2, 2, 2:7] = 5.0
    assert len(find(score_image(array, spacing), 2.0, smallest_ml)[1]) == 1
    assert not find(score_image(array, spacing), 2.0, smallest_ml * 1.05)[1]


def test_order_is_volume_times_mean_score() -> None:
    array = np.zeros((20, 20, 20))
    array[1, 1, 1] = 30.0
    array[5:8, 5:8, 5:8] = 4.0
    array[12:16, 12:16, 12:16] = 2.1
    _, found = find(score_image(array), 2.0, 0.0)
    products = [finding.volume_ml * finding.mean_score for finding in found]
    assert products == sorted(products, reverse=True)
    assert found[0].volume_ml == pytest.approx(64 * 8 / 1000)


def test_the_center_of_a_ring_lies_on_the_ring() -> None:
    array = np.zeros((9, 21, 21))
    y, x = np.indices((21, 21)) - 10
    array[4] = np.abs(np.hypot(y, x) - 8) < 1.0
    image = score_image(array * 5)
    labels, (finding,) = find(image, 2.0, 0.0)
    r, a, s = finding.centre_ras
    assert labels[labels.TransformPhysicalPointToIndex((-r, -a, s))] == 1


def test_nothing_above_the_threshold_is_no_finding() -> None:
    labels, found = find(score_image(np.ones((8, 8, 8))), 2.0, 0.0)
    assert found == [] and not sitk.GetArrayViewFromImage(labels).any()


def test_no_more_findings_than_the_segmentation_can_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "MOST_FINDINGS", 2)
    array = np.zeros((8, 8, 8))
    array[1, 1, 1], array[3, 3, 3], array[6, 6, 6] = 3.0, 5.0, 4.0
    labels, found = find(score_image(array), 2.0, 0.0)
    assert [finding.peak_score for finding in found] == [5.0, 4.0]
    assert sitk.GetArrayViewFromImage(labels).max() == 2


def test_the_table_has_the_contract_columns(tmp_path: Path) -> None:
    array = np.zeros((8, 8, 8))
    array[2:5, 2:5, 2:5] = 3.0
    _, found = find(score_image(array), 2.0, 0.0)
    findings.write_table(found, tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8") as file:
        header, values = csv.reader(file)
    assert ",".join(header) == "number,volume_ml,peak_score,mean_score,centre_r_mm,centre_a_mm,centre_s_mm"
    assert [float(value) for value in values[:4]] == [1, 0.216, 3.0, 3.0]
    assert [float(value) for value in values[4:]] == pytest.approx(found[0].centre_ras, abs=0.006)
