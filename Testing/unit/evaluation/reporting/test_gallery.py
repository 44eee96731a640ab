from dataclasses import replace

import numpy as np
import pytest

from conddiffusion_uad.detection.drawing import CONTOUR
from conddiffusion_uad.evaluation.reporting import gallery
from conddiffusion_uad.evaluation.reporting.gallery import Views


def views() -> Views:
    """A gray ball of a brain with a lesion at the patient's right and front, found in part; voxels 4 x 2 x 1 mm."""
    z, y, x = np.indices((9, 40, 80)) - np.array([4, 20, 40]).reshape(3, 1, 1, 1)
    brain = (4 * z) ** 2 + (2 * y) ** 2 + x**2 < 34**2
    lesion = (4 * (z - 2)) ** 2 + (2 * y + 14) ** 2 + (x + 14) ** 2 < 8**2
    scan = 100.0 * brain + 80.0 * lesion
    return Views(scan, 100.0 * brain, 5.0 * lesion, lesion & (x > -14), lesion, brain, (4.0, 2.0, 1.0))


def panels(drawn: Views) -> list[np.ndarray]:
    """The panels of a strip, cut apart, from left to right."""
    sheet = np.asarray(gallery.draw(drawn), int)
    count = 4 if drawn.reconstruction is not None else 3
    width = (sheet.shape[1] - 2 * gallery.EDGE + gallery.GAP) // count - gallery.GAP
    lefts = [gallery.EDGE + place * (width + gallery.GAP) for place in range(count)]
    return [sheet[gallery.HEAD : -gallery.FOOT, left : left + width] for left in lefts]


def center(picture: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    """Mean row and column, as fractions of the panel, of the pixels of a color."""
    rows, columns = np.nonzero((picture == color).all(axis=2))
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


def test_the_slice_with_most_lesion_is_drawn() -> None:
    assert gallery.most_interesting(views()) == 6


def test_without_a_lesion_the_slice_with_the_highest_score_in_the_brain_is_drawn() -> None:
    drawn = views()
    score = np.zeros(drawn.scan.shape)
    score[3, 20, 40], score[0, 0, 0] = 2.0, 9.0  # the second is outside of the brain
    assert gallery.most_interesting(replace(drawn, truth=drawn.truth & False, score=score)) == 3


def test_the_patients_right_is_drawn_on_the_left_and_the_front_at_the_top() -> None:
    *_, marked = panels(views())
    row, column = center(marked, gallery.LESION)
    assert row < 0.4 and column < 0.4
    assert center(marked, CONTOUR)[1] > column  # the part nearer to the middle was found


def test_a_panel_keeps_the_patients_proportions() -> None:
    for picture in panels(views()):
        height, width = picture.shape[:2]
        assert max(height, width) == gallery.PANEL
        assert width / height == pytest.approx(1, abs=0.05)  # a ball; its voxels are twice as tall as wide


def test_the_heatmap_is_colored_and_the_reconstruction_is_gray() -> None:
    scan, reconstruction, heatmap, _ = (np.ptp(picture, axis=2).max() for picture in panels(views()))
    assert scan == reconstruction == 0
    assert heatmap > 100


def test_scan_and_reconstruction_share_their_gray_levels() -> None:
    scan, reconstruction, *_ = panels(views())
    lower_half = slice(scan.shape[0] * 3 // 4, None)
    np.testing.assert_array_equal(scan[lower_half], reconstruction[lower_half])
    assert scan.max() > reconstruction.max()


def test_a_strip_without_a_reconstruction_and_lesion_lacks_them() -> None:
    drawn = views()
    pictures = panels(replace(drawn, reconstruction=None, truth=drawn.truth & False))
    assert len(pictures) == 3
    assert not (pictures[-1] == gallery.LESION).all(axis=2).any()


def test_a_single_slice_is_drawn() -> None:
    drawn = views()
    arrays = (drawn.scan, drawn.reconstruction, drawn.score, drawn.findings, drawn.truth, drawn.brain)
    single = Views(*(array[6:7] for array in arrays), spacing=drawn.spacing)
    np.testing.assert_array_equal(panels(single)[2], panels(drawn)[2])
