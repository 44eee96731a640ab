#!/usr/bin/env python3
"""Draws the icon of the module and the thumbnail of the sample scan: a slice of the synthetic scan under its lesion.

python Resources/Icons/make_icons.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "SampleData"
SIZE = 128
THUMBNAIL = (200, 140)
# Of the heatmap's colors, from the rim to the middle of the lesion.
COLORS = ((173, 8, 124), (254, 86, 73), (255, 190, 87), (254, 235, 23))
BACKGROUND = (24, 28, 40)


def slice_through_the_lesion() -> tuple[np.ndarray, np.ndarray]:
    """The axial slice with most of the lesion, as seen in a slice view: gray values 0..1, and where the lesion is."""
    scan = sitk.DICOMOrient(sitk.ReadImage(str(SAMPLE / "synthetic_T2_brain.nii.gz"), sitk.sitkFloat32), "LPS")
    truth = sitk.DICOMOrient(sitk.ReadImage(str(SAMPLE / "synthetic_T2_brain_truth.nii.gz")), "LPS")
    lesion = sitk.GetArrayFromImage(truth) > 0
    index = int(lesion.sum(axis=(1, 2)).argmax())
    gray = sitk.GetArrayFromImage(scan)[index]
    rows, columns = (np.flatnonzero(gray.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return np.clip(gray[box] / np.percentile(gray[gray > 0], 99.5), 0, 1), lesion[index][box]


def paint(gray: np.ndarray, lesion: np.ndarray) -> Image.Image:
    """The slice in gray with the lesion in the heatmap's colors; transparent outside of the brain."""
    rgb = np.repeat((40 + 200 * gray)[..., None], 3, axis=2)
    depth = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(sitk.GetImageFromArray(lesion.astype(np.uint8)), True, False)
    )
    for step, color in enumerate(COLORS):
        rgb[depth > 2.2 * step - 3] = color
    alpha = np.where((gray > 0) | (depth > -3), 255, 0)[..., None]
    return Image.fromarray(np.concatenate([rgb, alpha], axis=2).astype(np.uint8), "RGBA")


def centered(picture: Image.Image, size: tuple[int, int], margin: int) -> Image.Image:
    """The picture, fitted into the middle of a transparent one."""
    fitted = picture.copy()
    fitted.thumbnail((size[0] - 2 * margin, size[1] - 2 * margin), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    canvas.alpha_composite(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return canvas


def main() -> None:
    """Write both pictures."""
    picture = paint(*slice_through_the_lesion())
    large = picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.LANCZOS)
    icon = Image.new("RGBA", (4 * SIZE, 4 * SIZE), (0, 0, 0, 0))
    ImageDraw.Draw(icon).rounded_rectangle((0, 0, 4 * SIZE - 1, 4 * SIZE - 1), radius=88, fill=(*BACKGROUND, 255))
    icon.alpha_composite(centered(large, icon.size, 40))
    icon.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(HERE / "CondDiffusionUAD.png", optimize=True)
    thumbnail = Image.new("RGBA", THUMBNAIL, (*BACKGROUND, 255))
    thumbnail.alpha_composite(centered(large, THUMBNAIL, 6))
    thumbnail.convert("RGB").save(HERE / "Synthetic_T2_brain.png", optimize=True)


if __name__ == "__main__":
    main()
