"""Healthy scans that are drawn from held-out brains to count false findings in."""

from dataclasses import replace

import numpy as np
import pytest
import varied_cases

from conddiffusion_uad.training.data import usual_intensities
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.healthy_bank import FINE, FLUID, GRAY, LABELS, WHITE, Inputs

NONE = np.zeros(0, np.uint8)


def shells(shape: tuple[int, int, int], values: tuple[int, int, int]) -> np.ndarray:
    """A ball of one value in shells of two others, 0 outside, uint8."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return np.select([z**2 + y**2 + x**2 < r**2 for r in (0.35, 0.65, 0.75)], values).astype(np.uint8)


def labels() -> Inputs:
    names = list(TISSUES)
    order = ("ventricles", "white matter", "cortex")
    return Inputs("labels", "", shells(LABELS.size[::-1], tuple(1 + names.index(name) for name in order)), NONE, NONE)


def scan() -> Inputs:
    tissue = shells(FINE.size[::-1], (FLUID, WHITE, GRAY))
    image = np.array([0, 0.1, 0.5, 0.9], np.float16)[tissue]
    return Inputs("scan", "T1", image, tissue, NONE)


@pytest.mark.parametrize(("inputs", "contrast"), [(labels, "FLAIR"), (scan, "T1"), (scan, "T2")])
def test_a_draw_is_a_whole_normalized_scan_of_its_contrast(inputs, contrast):
    volume, mask = varied_cases.drawn(inputs(), contrast, np.random.default_rng(0))
    assert volume.shape == mask.shape == FINE.size[::-1] and volume.dtype == np.float32 and mask.dtype == bool
    assert volume.min() == 0 and volume.max() == 1 and not volume[~mask].any()
    assert 0.1 < mask.mean() < 0.4, "a ball of three quarters of the grid's size, give or take its deformation"
    middle = volume[36:44, 90:102, 74:86].mean()  # the fluid
    around = volume[36:44, 50:56, 74:86].mean()  # white matter
    assert middle > around + 0.4 if contrast == "T2" else middle < around - 0.4


def test_a_label_map_has_intensities_that_scanners_make_and_folia(monkeypatch):
    made = []
    monkeypatch.setattr(varied_cases, "LabelSource", lambda inputs, palette, folia: made.append((palette, folia)))
    monkeypatch.setattr(usual_intensities, "draw", lambda contrast, rng: f"usual {contrast}")
    varied_cases._source(labels(), "T2", np.random.default_rng(0))
    [(palette, folia)] = made
    assert palette == "usual T2" and isinstance(folia, Folia)


def test_a_scan_that_is_made_to_look_like_another_contrast_has_a_usual_cortex_and_its_own_contrast_any():
    for seed in range(30):
        remapped = varied_cases._source(scan(), "FLAIR", np.random.default_rng(seed))
        assert usual_intensities.usual(remapped.palette)
    image = np.where(scan().tissue == GRAY, np.float16(0.12), scan().image)  # a cortex as dark as fluid
    own = varied_cases._source(replace(scan(), image=image), "T1", np.random.default_rng(0))
    assert not usual_intensities.usual(own.palette)


def test_a_draw_comes_again_and_another_is_another():
    inputs = scan()
    first, again, other = (varied_cases.drawn(inputs, "T2", np.random.default_rng(seed))[0] for seed in (0, 0, 1))
    assert np.array_equal(again, first) and np.abs(other - first).mean() > 0.01


@pytest.mark.parametrize(
    ("name", "brain"),
    [
        ("healthy_IXI048", "IXI048"),
        ("healthy_IXI048_as_T2", "IXI048"),
        ("healthy_labels_18_T1", "18"),
        ("varied_IXI048_T1_1", "IXI048"),
        ("varied_b5_FLAIR_0", "b5"),
    ],
)
def test_scans_of_one_brain_are_known_by_their_names(name, brain):
    assert varied_cases.brain_of(name) == brain


def test_each_brain_is_drawn_as_often_as_the_others_with_its_plain_scan(tmp_path):
    folder = tmp_path / "train" / "ixi_t1_2mm"
    folder.mkdir(parents=True)
    for name in ("IXI048-x.nii.gz", "IXI049-x.nii.gz"):
        (folder / name).touch()
    for contrast in ("T1", "T2", "FLAIR"):
        names = [name for name, _ in varied_cases.recipes(tmp_path, None, contrast, 3)]
        brains = [varied_cases.brain_of(name) for name in names]
        expected = {brain: 2 for brain in ("18", "19", "20", "b5", "IXI048", "IXI049")}
        assert {brain: brains.count(brain) for brain in brains} == expected | ({"19": 3} if contrast == "T1" else {})
        assert len(set(names)) == len(names)
