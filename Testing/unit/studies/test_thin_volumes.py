"""Archives of single slices become thin volumes that are prepared as volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from studies.thin_volumes import main
from synthetic_slice import head

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data import healthy_bank


def test_slices_of_heads_lie_where_the_command_says_without_their_skull(tmp_path: Path) -> None:
    image, brain = head()
    np.savez(tmp_path / "t2.npz", image=np.rot90(np.stack([image, 0 * image]), -1, axes=(1, 2)).astype(np.float16))
    main([str(tmp_path / "t2.npz"), str(tmp_path / "out"), "--contrast", "T2", "--turns", "1", "--skull", "--z", "18"])
    (file,) = (tmp_path / "out").iterdir()  # the second slice shows nothing
    assert file.name == "0000_t2.nii.gz"
    with pytest.raises(BadInput):  # no scan for a detection
        volumes.read(file)
    grid = Grid((80, 96, 80), (2.0, 2.0, 2.0), (-79.0, -79.0, -75.0))
    scan = volumes.read(file, thin=True)
    made = prepare(scan, grid=grid, atlas=atlas.load(), progress=Quiet())
    assert made.grid == grid
    shown = np.flatnonzero(made.mask.any(axis=(1, 2)))
    assert shown.tolist() == [45, 46, 47]  # 15 to 19 mm
    assert made.mask.sum() * 8 / 6 == pytest.approx(brain.sum(), rel=0.04)
    y, x = ndimage.center_of_mass(made.mask[46])
    assert (-79 + 2 * x, -79 + 2 * y) == pytest.approx((0.5, 16.5), abs=0.6)
    inside = made.volume[shown][made.mask[shown]]
    assert 0 <= inside.min() < 0.2 and 0.9 < inside.max() <= 1
    back = made.score_to_native(made.volume + 1)
    assert back.GetSize() == scan.GetSize()
    native = sitk.GetArrayFromImage(back)
    assert np.array_equal(native > 0, sitk.GetArrayFromImage(scan) > 0)


def test_subjects_lesions_and_the_cleanest_keep_their_names(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(50, 250, (3, 48, 40)).astype(np.uint8)
    masks = np.zeros(images.shape, bool)
    masks[:, 20:25, 20:25] = True
    extra = {"mask": masks, "id": ["sub-1", "sub-2", "sub-3"], "bright": [0.3, 0.1, 0.2]}
    np.savez(tmp_path / "flair.npz", image=images, **extra)
    main([str(tmp_path / "flair.npz"), str(tmp_path / "out"), "--contrast", "FLAIR", "--cleanest", "0.34"])
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*flair.nii.gz"))
    assert names == ["clean/0001_sub-2_flair.nii.gz", "other/0000_sub-1_flair.nii.gz", "other/0002_sub-3_flair.nii.gz"]
    truth = sitk.ReadImage(str(tmp_path / "out" / "other" / "0002_sub-3_flair_seg.nii.gz"))
    scan = volumes.read(tmp_path / "out" / names[2], thin=True)
    assert Grid.of(truth).size == Grid.of(scan).size
    assert sitk.GetArrayFromImage(truth)[4].sum() == 25


def test_thin_volumes_are_a_source_of_single_slices_at_their_height(tmp_path: Path) -> None:
    image, brain = head()
    half = np.array([2.0, 1.0])  # mm: rows and columns of a slice whose rows are half as many
    stored = np.stack([image[::2], 0.5 * image[::2]]).astype(np.float32)
    np.savez(tmp_path / "t2.npz", image=stored)
    options = ["--contrast", "T2", "--skull", "--z", "18", "--pixel", *map(str, half)]
    main([str(tmp_path / "t2.npz"), str(tmp_path / "out"), *options])
    made = healthy_bank.slices("T2", True, "*_t2.nii.gz", tmp_path / "out")
    assert made.kind == "slices" and made.heights.tolist() == [18.0, 18.0]
    assert (made.tissue[0] > 0).sum() == pytest.approx(brain.sum(), rel=0.05)
    assert np.array_equal(made.image[0], made.image[1]), "each slice is normalized by itself"
    assert np.isnan(healthy_bank.slices("T2", False, "*_t2.nii.gz", tmp_path / "out").heights).all()
    with pytest.raises(ValueError, match="holds no thin volumes"):
        healthy_bank.slices("T2", True, "*_t2.nii.gz", tmp_path)
