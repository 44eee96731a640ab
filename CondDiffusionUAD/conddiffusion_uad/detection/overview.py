"""One picture of a detection: the scan, its reconstruction and the heatmap, cut through the strongest finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw

from conddiffusion_uad.detection.colors import HIGHEST_SHOWN, LOWEST_SHOWN, colors
from conddiffusion_uad.detection.drawing import (
    BACKGROUND,
    CONTOUR,
    TEXT,
    font,
    heatmap_over,
    outline,
    panel,
    scaled,
    side_letters,
)
from conddiffusion_uad.detection.pipeline import Detection
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.preprocessing.resampling import box_of
from conddiffusion_uad.protocol.failures import RESEARCH_USE

PANEL = 250  # pixels of the longest side of the brain's box
MARGIN_MM = 8.0  # shown around the brain
LEVELS = 6  # axial slices beside the three cuts
GAP, EDGE, HEAD, FOOT, BAR = 6, 16, 34, 40, 190  # pixels
ROWS = ("Scan", "Reconstruction", "Anomaly score")
PLANES = ("Axial", "Coronal", "Sagittal")
SIDES = {"Axial": "RL", "Coronal": "RL", "Sagittal": "AP"}  # letters at the left and right edge of a cut


@dataclass(frozen=True)
class Cut:
    """One slice to show: its plane, its index in the cropped volume, and its heading."""

    plane: str
    index: int
    heading: str


@dataclass(frozen=True)
class Volumes:
    """The images of a detection, turned to L, P, S, cropped to the brain; arrays are (z, y, x).

    Attributes:
        scan: Intensities.
        reconstruction: Intensities.
        score: Anomaly score.
        findings: Whether a voxel belongs to a finding.
        mask: The brain mask with its place in space.
        limits: Intensities that are black and white.
    """

    scan: np.ndarray
    reconstruction: np.ndarray
    score: np.ndarray
    findings: np.ndarray
    mask: sitk.Image
    limits: tuple[float, float]

    def gray(self, array: np.ndarray, cut: Cut) -> np.ndarray:
        """The slice of one of the intensities, 0..255."""
        low, high = self.limits
        return np.clip((self.slice(array, cut) - low) / max(high - low, 1e-9), 0, 1) * 255

    def slice(self, array: np.ndarray, cut: Cut) -> np.ndarray:
        """The slice of one of the arrays, as a radiologist sees it: from the feet, from the front, from the left."""
        if cut.plane == "Axial":
            return array[cut.index]
        return array[::-1, cut.index] if cut.plane == "Coronal" else array[::-1, :, cut.index]

    def pixels(self, cut: Cut) -> tuple[int, int]:
        """Width and height of a cut's panel, true to the patient's proportions."""
        size, spacing = np.array(self.mask.GetSize()), np.array(self.mask.GetSpacing())
        extent = size * spacing * PANEL / (size * spacing).max()
        across, down = {"Axial": (0, 1), "Coronal": (0, 2), "Sagittal": (1, 2)}[cut.plane]
        return max(1, round(extent[across])), max(1, round(extent[down]))


def draw(scan: sitk.Image, detection: Detection) -> Image.Image:
    """Draw the overview.

    Columns are the axial, coronal and sagittal cut through the first finding (the middle of the brain when there is
    none) and axial slices through the brain; rows are the scan, its reconstruction, and the heatmap over the scan with
    the findings' contours. In radiological convention: the patient's right is on the left.
    """
    volumes = _prepare(scan, detection)
    cuts = [*_cuts_through(_place(volumes, detection), volumes), *_levels(volumes)]
    sizes = [volumes.pixels(cut) for cut in cuts]
    row = max(height for _, height in sizes)
    width = EDGE * 3 + sum(w + GAP for w, _ in sizes) + BAR
    sheet = Image.new("RGB", (width, HEAD + 3 * (row + GAP) + FOOT), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    left = EDGE
    for number, (cut, (w, h)) in enumerate(zip(cuts, sizes, strict=True)):
        if number == len(PLANES):
            left += EDGE
        pen.text((left + w / 2, HEAD / 2), cut.heading, TEXT, font(14), anchor="mm")
        for line, picture in enumerate(_panels(volumes, cut)):
            top = HEAD + line * (row + GAP)
            sheet.paste(picture, (left, top + (row - h) // 2))
            side_letters(pen, SIDES[cut.plane], (left, top, w, row))
            if number == 0:
                pen.text((left + 2, top + 2), ROWS[line], TEXT, font(13), anchor="la", stroke_width=2, stroke_fill=0)
        left += w + GAP
    _color_bar(sheet, (left + EDGE, HEAD + 2 * (row + GAP), row), detection.threshold)
    pen.text((EDGE, sheet.height - FOOT / 2), _summary(detection), TEXT, font(14), anchor="lm")
    pen.text((width - EDGE, sheet.height - FOOT / 2), RESEARCH_USE, TEXT, font(14), anchor="rm")
    return sheet


def _prepare(scan: sitk.Image, detection: Detection) -> Volumes:
    """Crop to the brain, turn to L, P, S, and scale intensities between percentiles of the brain."""
    grid = detection.brain_mask
    low, high = box_of(grid) or ((0, 0, 0), grid.GetSize())
    margin = [int(MARGIN_MM / spacing) for spacing in grid.GetSpacing()]
    first = [max(0, start - more) for start, more in zip(low, margin, strict=True)]
    size = [min(n, end + more) - start for n, end, more, start in zip(grid.GetSize(), high, margin, first, strict=True)]
    images = (scan, detection.reconstruction, detection.heatmap, detection.segmentation, grid)
    *turned, mask = (orient(sitk.RegionOfInterest(each, size, first)).image for each in images)
    image, healthy, score, findings = map(sitk.GetArrayFromImage, turned)
    brain = sitk.GetArrayViewFromImage(mask) > 0
    black, white = np.percentile(image[brain] if brain.any() else image, (0.5, 99.5))
    return Volumes(image, healthy, score, findings > 0, mask, (float(black), float(white)))


def _place(volumes: Volumes, detection: Detection) -> list[int]:
    """Index (x, y, z) of the first finding's center, or of the middle."""
    size = volumes.mask.GetSize()
    if not detection.findings:
        return [length // 2 for length in size]
    r, a, s = detection.findings[0].centre_ras
    index = volumes.mask.TransformPhysicalPointToIndex((-r, -a, s))
    return [min(max(place, 0), length - 1) for place, length in zip(index, size, strict=True)]


def _cuts_through(place: Sequence[int], volumes: Volumes) -> list[Cut]:
    r, a, s = _ras(place, volumes)
    x, y, z = place
    return [
        Cut("Axial", z, f"Axial {s}"),
        Cut("Coronal", y, f"Coronal {a}"),
        Cut("Sagittal", x, f"Sagittal {r}"),
    ]


def _levels(volumes: Volumes) -> list[Cut]:
    """Axial slices, evenly through the brain, from the feet up."""
    x, y, z = volumes.mask.GetSize()
    indices = sorted({int(index) for index in np.linspace(0.18 * z, 0.82 * (z - 1), LEVELS)})
    return [Cut("Axial", index, _ras((x // 2, y // 2, index), volumes)[2]) for index in indices]


def _ras(place: Sequence[int], volumes: Volumes) -> tuple[str, str, str]:
    """A voxel's place in words: "R 12 mm", "P 3 mm", "S 40 mm"."""
    left, posterior, superior = volumes.mask.TransformIndexToPhysicalPoint([int(index) for index in place])
    pairs = ((-left, "RL"), (-posterior, "AP"), (superior, "SI"))
    r, a, s = (f"{names[0] if value >= 0 else names[1]} {abs(value):.0f} mm" for value, names in pairs)
    return r, a, s


def _panels(volumes: Volumes, cut: Cut) -> list[Image.Image]:
    """The scan, the reconstruction, and the heatmap over the scan."""
    size = volumes.pixels(cut)
    scan, healthy = (scaled(volumes.gray(array, cut), size) for array in (volumes.scan, volumes.reconstruction))
    overlay = heatmap_over(scan, scaled(volumes.slice(volumes.score, cut), size))
    inside = scaled(volumes.slice(volumes.findings, cut).astype(np.float32), size) > 0.5
    overlay[outline(inside)] = CONTOUR
    return [panel(values) for values in (scan, healthy, overlay)]


def _color_bar(sheet: Image.Image, box: tuple[int, int, int], threshold: float) -> None:
    """Draw the legend of the scores into (left, top, height): what each color means, and where the threshold is."""
    left, top, height = box
    pen = ImageDraw.Draw(sheet)
    top, height = top + 26, height - 34
    scores = np.linspace(HIGHEST_SHOWN, LOWEST_SHOWN, height)
    bar = np.repeat(colors(scores)[:, None], 18, axis=1).astype(np.uint8)
    sheet.paste(Image.fromarray(bar), (left, top))
    pen.text((left, top - 20), "Healthy voxels as unusual", TEXT, font(12), anchor="la")

    def at(score: float) -> float:
        return top + (HIGHEST_SHOWN - score) / (HIGHEST_SHOWN - LOWEST_SHOWN) * (height - 1)

    for score in range(int(LOWEST_SHOWN), int(HIGHEST_SHOWN) + 1):
        pen.text((left + 26, at(score)), f"{score}   1 in {10**score:,}", TEXT, font(12), anchor="lm")
    if LOWEST_SHOWN <= threshold <= HIGHEST_SHOWN:
        pen.line((left - 5, at(threshold), left + 22, at(threshold)), CONTOUR, 2)


def _summary(detection: Detection) -> str:
    flagged = f"from score {detection.threshold:.2f} on (outlined)"
    if not detection.findings:
        return f"No finding {flagged}"
    count = len(detection.findings)
    volume = sum(finding.volume_ml for finding in detection.findings)
    return f"{count} finding{'s' * (count > 1)}, {volume:.1f} ml in all, {flagged}; cuts through finding 1"
