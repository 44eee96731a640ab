"""Healthy inputs of the learned map: label maps that fit the atlas, whatever the shape of their voxels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.data.anatomy import TISSUES

CORTEX, FLUID = (1 + list(TISSUES).index(name) for name in ("cortex", "subarachnoid fluid"))


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    """Three slabs of cortex in voxels of 1 x 1 x 3 mm, 6 and 24 mm apart along z."""
    values = np.zeros((30, 60, 60), np.int32)
    for start, end in ((0, 7), (9, 16), (24, 30)):
        values[start:end] = 3
    values[:, :10], values[:, 50:], values[:, :, :10], values[:, :, 50:] = 0, 0, 0, 0
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.0, 3.0))
    image.SetOrigin((-29.5, -20.0, -45.0))
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    return tmp_path / "labels.nii.gz"


def registered(monkeypatch: pytest.MonkeyPatch, *, ok: bool) -> None:
    """The label map counts as lying in the atlas' space already."""
    result = SimpleNamespace(ok=ok, to_atlas=sitk.Transform())
    monkeypatch.setattr(healthy_bank, "register", lambda *_: result)


def test_gaps_are_measured_in_millimeters_along_each_axis(label_map: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, ok=True)
    image = healthy_bank.labels(label_map).image
    x, y = (round(0.5 - origin) for origin in healthy_bank.LABELS.origin[:2])
    column = image[:, y, x]
    heights = healthy_bank.LABELS.origin[2] + np.arange(len(column))
    for middle, found in ((-45 + 7.5 * 3, FLUID), (-45 + 19.5 * 3, 0)):  # sulci are closed up to twice 5 mm
        assert column[int(np.abs(heights - middle).argmin())] == found
    assert (column == CORTEX).sum() == pytest.approx(3 * 20, abs=2)


def test_a_label_map_that_does_not_fit_the_atlas_is_refused(label_map: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, ok=False)
    with pytest.raises(ValueError, match=r"labels\.nii\.gz does not fit the atlas"):
        healthy_bank.labels(label_map)
