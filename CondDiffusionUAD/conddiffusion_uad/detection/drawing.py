"""What the pictures of a scan have in common: colors, scaling, outlines, the heatmap over the scan, letters."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from conddiffusion_uad.detection.colors import colors, opacity

Color = tuple[int, int, int]
BACKGROUND, TEXT, FAINT, CONTOUR = (12, 12, 14), (235, 235, 235), (150, 150, 150), (0, 229, 255)


def scaled(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A slice (rows, columns) at another size (width, height), linearly interpolated; float32."""
    image = Image.fromarray(np.ascontiguousarray(array, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def outline(inside: np.ndarray) -> np.ndarray:
    """The pixels of a region (boolean, 2-D) that have a neighbor above, below, left or right outside of it."""
    padded = np.pad(inside, 1)
    eroded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~eroded


def heatmap_over(gray: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Anomaly scores over a slice in 0..255, both (rows, columns), as red, green and blue in 0..255."""
    opaque = opacity(score)[..., None]
    return gray[..., None] * (1 - opaque) + colors(score) * opaque


def panel(values: np.ndarray) -> Image.Image:
    """A picture of gray (rows, columns) or colored (rows, columns, 3) values, cut to 0..255."""
    channels = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    return Image.fromarray(np.clip(channels, 0, 255).astype(np.uint8))


def side_letters(pen: ImageDraw.ImageDraw, letters: str, box: tuple[int, int, int, int]) -> None:
    """Write which side of the patient is at the left and the right edge of a panel (left, top, width, height)."""
    left, top, width, height = box
    for letter, x, anchor in ((letters[0], left + 3, "lm"), (letters[1], left + width - 3, "rm")):
        pen.text((x, top + height / 2), letter, FAINT, font(12), anchor=anchor, stroke_width=2, stroke_fill=0)


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font of all pictures at a size in pixels."""
    return ImageFont.load_default(size)
