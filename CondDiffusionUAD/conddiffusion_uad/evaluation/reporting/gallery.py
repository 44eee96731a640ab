"""One strip of pictures for a case: input, reconstruction, heatmap, and the lesion with what was found of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from conddiffusion_uad.detection.colors import HIGHEST_SHOWN, LOWEST_SHOWN, colors
from conddiffusion_uad.detection.drawing import (
    BACKGROUND,
    CONTOUR,
    FAINT,
    TEXT,
    Color,
    font,
    heatmap_over,
    outline,
    panel,
    scaled,
    side_letters,
)
from conddiffusion_uad.protocol.failures import RESEARCH_USE

PANEL = 280  # pixels of the longest side of a panel
MARGIN_MM = 8.0  # shown around the brain
GAP, EDGE, HEAD, FOOT = 12, 10, 26, 44  # pixels
LESION: Color = (255, 176, 0)
LESION_GROWTH = 1  # pixels by which the lesion's outline is wider, so that it is seen under that of a finding
SCALE_MM = 50  # length of the scale bar


@dataclass(frozen=True)
class Views:
    """What is drawn of a case. All arrays are (z, y, x) on one grid, turned to L, P, S.

    Attributes:
        scan: Intensities, any units.
        reconstruction: In the same units; None when there is none, then its panel is left out.
        score: Anomaly score.
        findings: Boolean; what was flagged at the threshold that needs no labels.
        truth: Boolean, the lesion; empty in healthy scans.
        brain: Boolean, not empty; its surroundings are not shown.
        spacing: (z, y, x) in mm.
    """

    scan: np.ndarray
    reconstruction: np.ndarray | None
    score: np.ndarray
    findings: np.ndarray
    truth: np.ndarray
    brain: np.ndarray
    spacing: Sequence[float]


def draw(views: Views) -> Image.Image:
    """Draw the axial slice with most lesion, or in a healthy scan that with the highest score.

    In radiological convention: the patient's right is on the left.
    """
    index = most_interesting(views)
    window = (index, *_box(views, index))
    width, height = _size(window, views.spacing)
    pictures = _pictures(views, window, (width, height))
    sheet = Image.new("RGB", (2 * EDGE + len(pictures) * (width + GAP) - GAP, HEAD + height + FOOT), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    lefts = [EDGE + place * (width + GAP) for place in range(len(pictures))]
    for left, (heading, picture) in zip(lefts, pictures.items(), strict=True):
        sheet.paste(picture, (left, HEAD))
        pen.text((left + width / 2, HEAD / 2), heading, TEXT, font(13), anchor="mm")
        side_letters(pen, "RL", (left, HEAD, width, height))
    foot = HEAD + height + 14
    _scale_bar(pen, (lefts[0], foot), width / (_length(window[2]) * views.spacing[2]))
    _score_bar(sheet, (lefts[-2], foot), width)
    _legend(pen, (lefts[-1], foot), lesion=bool(views.truth.any()))
    pen.text((EDGE, sheet.height - 5), RESEARCH_USE, FAINT, font(10), anchor="ls")
    return sheet


def most_interesting(views: Views) -> int:
    """The index of the slice with most lesion; without any lesion, of that with the highest score in the brain."""
    if views.truth.any():
        return int(views.truth.sum(axis=(1, 2)).argmax())
    return int(np.where(views.brain, views.score, -np.inf).max(axis=(1, 2)).argmax())


def _box(views: Views, index: int) -> tuple[slice, slice]:
    """Rows and columns of the brain in a slice (of the whole brain where the slice has none), with a margin."""
    brain = views.brain[index] if views.brain[index].any() else views.brain.any(axis=0)
    found = []
    for axis in (0, 1):
        places = np.flatnonzero(brain.any(axis=1 - axis))
        margin = round(MARGIN_MM / views.spacing[1 + axis])
        first, last = max(0, int(places[0]) - margin), int(places[-1]) + margin
        found.append(slice(first, min(last + 1, brain.shape[axis])))
    return found[0], found[1]


def _length(part: slice) -> int:
    return part.stop - part.start


def _size(window: tuple[int, slice, slice], spacing: Sequence[float]) -> tuple[int, int]:
    """Width and height of a panel in pixels, true to the patient's proportions."""
    down, across = _length(window[1]) * spacing[1], _length(window[2]) * spacing[2]
    longest = max(down, across)
    return max(1, round(PANEL * across / longest)), max(1, round(PANEL * down / longest))


def _pictures(views: Views, window: tuple[int, slice, slice], size: tuple[int, int]) -> dict[str, Image.Image]:
    """The panels by their headings, from left to right."""
    low, high = np.percentile(views.scan[views.brain], (0.5, 99.5))

    def gray(array: np.ndarray) -> np.ndarray:
        return scaled(np.clip((array[window] - low) / max(high - low, 1e-9), 0, 1) * 255, size)

    def edge(region: np.ndarray) -> np.ndarray:
        return outline(scaled(region[window].astype(np.float32), size) > 0.5)

    scan = gray(views.scan)
    marked = np.repeat(scan[..., None], 3, axis=2)
    marked[ndimage.binary_dilation(edge(views.truth), iterations=LESION_GROWTH)] = LESION
    marked[edge(views.findings)] = CONTOUR
    values = {"Scan": scan}
    if views.reconstruction is not None:
        values["Reconstruction"] = gray(views.reconstruction)
    values["Anomaly score"] = heatmap_over(scan, scaled(views.score[window], size))
    values["Lesion and findings" if views.truth.any() else "Findings"] = marked
    return {heading: panel(array) for heading, array in values.items()}


def _scale_bar(pen: ImageDraw.ImageDraw, place: tuple[int, int], pixels_per_mm: float) -> None:
    left, top = place
    right = left + round(SCALE_MM * pixels_per_mm)
    pen.line((left, top, right, top), TEXT, 2)
    pen.text((right + 6, top), f"{SCALE_MM} mm", TEXT, font(11), anchor="lm")


def _score_bar(sheet: Image.Image, place: tuple[int, int], width: int) -> None:
    """What the colors of the heatmap mean, between the lowest and the highest score that is colored."""
    left, top = place
    pen = ImageDraw.Draw(sheet)
    pen.text((left, top), f"{LOWEST_SHOWN:.0f}", TEXT, font(11), anchor="lm")
    pen.text((left + width, top), f"{HIGHEST_SHOWN:.0f}", TEXT, font(11), anchor="rm")
    bar = colors(np.linspace(LOWEST_SHOWN, HIGHEST_SHOWN, max(1, width - 28)))
    sheet.paste(panel(np.repeat(bar[None], 8, axis=0)), (left + 14, top - 4))


def _legend(pen: ImageDraw.ImageDraw, place: tuple[int, int], *, lesion: bool) -> None:
    left, top = place
    for name, color in (("lesion", LESION), ("findings", CONTOUR))[0 if lesion else 1 :]:
        pen.line((left, top, left + 16, top), color, 3)
        pen.text((left + 22, top), name, TEXT, font(11), anchor="lm")
        left += 90
