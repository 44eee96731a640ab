"""Label maps become tissue fractions, the brain of them, and where they cannot be placed nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from spheres import GRID, label_map

from conddiffusion_uad.preprocessing.registration import Registered
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data import prepared
from conddiffusion_uad.training.data.anatomy import TISSUES, brain_of, tissue_fractions, tissue_labels

NAMES = list(TISSUES)


def test_labels_become_tissues_and_the_head_is_left_out() -> None:
    classes = tissue_labels(label_map())
    assert classes[32, 32, 32] == 1 + NAMES.index("ventricles")
    assert classes[32, 32, 50] == 1 + NAMES.index("white matter")
    assert classes[32, 32, 61] == 0
    lesion = sitk.GetImageFromArray(np.full((1, 1, 2), 25, np.int32))
    assert (tissue_labels(lesion) == 1 + NAMES.index("white matter")).all()


def test_brain_is_solid_tissue_with_its_holes_and_without_the_fluid_around_it() -> None:
    brain = brain_of(tissue_labels(label_map()), (1.0, 1.0, 1.0))
    assert brain[32, 32, 32]
    assert not brain[32, 32, 32 + 26]
    assert brain.sum() == pytest.approx(4 / 3 * np.pi * 24**3, rel=0.05)


@pytest.mark.parametrize(("spacing", "closes"), [((1.0, 1.0, 1.0), True), ((3.0, 1.0, 1.0), False)])
def test_sulci_up_to_a_centimeter_are_closed_whatever_the_slice_distance(
    spacing: tuple[float, float, float], closes: bool
) -> None:
    classes = np.zeros((40, 40, 40), np.uint8)
    classes[5:17, 5:35, 5:35] = classes[24:36, 5:35, 5:35] = 1 + NAMES.index("cortex")  # with 7 slices between
    assert brain_of(classes, spacing)[20, 20, 20] == closes


def test_fractions_add_up_and_keep_the_volume() -> None:
    fractions = tissue_fractions(label_map(), sitk.Transform(), GRID)
    total = fractions[:-1].astype(float).sum(0) / 255
    assert total[16, 16, 8:24] == pytest.approx(1.0, abs=0.03)
    white = fractions[NAMES.index("white matter")].astype(float).sum() / 255 * 8
    assert white == pytest.approx(4 / 3 * np.pi * (20**3 - 6**3), rel=0.03)


def test_a_label_map_that_does_not_fit_the_atlas_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sitk.WriteImage(label_map(), str(tmp_path / "spheres.nii.gz"))
    poor = Registered(sitk.AffineTransform(3), quality=0.5, ok=False)
    monkeypatch.setattr(prepared, "register", lambda *_: poor)
    with pytest.raises(BadInput) as caught:
        prepared.load_labels(tmp_path / "spheres.nii.gz", GRID)
    assert caught.value.code == "not_a_brain"


def test_a_label_map_beside_the_grid_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sitk.WriteImage(label_map(), str(tmp_path / "spheres.nii.gz"))
    away = sitk.AffineTransform(3)
    away.SetTranslation((0.0, 0.0, 500.0))
    monkeypatch.setattr(prepared, "register", lambda *_: Registered(away, quality=1.0, ok=True))
    with pytest.raises(BadInput, match="Nothing of it lies on the grid"):
        prepared.load_labels(tmp_path / "spheres.nii.gz", GRID)


def test_tissues_of_a_scan_that_does_not_show_three_are_not_told() -> None:
    assert prepared._tissue_medians(np.full(100, 0.5, np.float16)) is None
    assert prepared._tissue_medians(np.repeat([0.1, 0.5, 0.9], 50)) == pytest.approx((0.1, 0.5, 0.9))
