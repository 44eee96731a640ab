"""What is bright in tissue is outlined, and becomes what `train lesions` reads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import outlined_lesions as study
import SimpleITK as sitk
from scipy import ndimage


def made_up() -> np.ndarray:
    """A round brain of 1 mm: bright in the cortex, at the mid-line, in a speck, and in one lesion of 8 x 8 mm."""
    y, x = np.mgrid[:120, :100]
    away = np.hypot(y - 60, x - 50)
    image = np.where(away < 45, 100 + np.random.default_rng(0).normal(0, 3, (120, 100)), 0).clip(0)
    image[(away > 41) & (away < 45)] = 200
    image[58:66, 47:53] = image[40:42, 30:32] = image[70:78, 66:74] = 200
    return image.astype(np.float32)


def test_the_lesion_alone_is_outlined() -> None:
    found = study.outlined(made_up())
    lesion = np.zeros(found.shape, bool)
    lesion[70:78, 66:74] = True
    assert (found & lesion).sum() > 0.8 * lesion.sum()
    assert not (found & ~ndimage.binary_dilation(lesion)).any(), "but for its edge, which is blurred"
    assert not study.outlined(np.zeros((50, 50), np.float32)).any()


def test_slices_with_lesions_become_scans_lesion_maps_and_a_table(tmp_path: Path) -> None:
    healthy = made_up()
    healthy[70:78, 66:74] = 100
    images = np.stack([healthy, made_up()]).astype(np.uint8)
    np.savez(tmp_path / "slices.npz", image=images, id=np.array(["sub-1", "sub-2"]))
    assert study.convert(tmp_path / "slices.npz", tmp_path / "out", 18.0) == 1
    with (tmp_path / "out" / study.TABLE).open() as file:
        (row,) = csv.DictReader(file)
    assert row == {"scan": "0001_sub-2_flair.nii.gz", "lesions": "0001_sub-2_flair_seg.nii.gz", "contrast": "FLAIR"}
    scan, lesions = (sitk.ReadImage(str(tmp_path / "out" / row[name])) for name in ("scan", "lesions"))
    assert scan.GetSize() == lesions.GetSize() and scan.GetOrigin() == lesions.GetOrigin()
    assert sitk.GetArrayFromImage(lesions)[0, 74, 70] == 1 and sitk.GetArrayFromImage(scan)[0, 74, 70] == 200
