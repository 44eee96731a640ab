"""Material of a training: cached by content, grouped by what is drawn alike."""

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads

from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.learned_map.batches import Batches, groups
from conddiffusion_uad.training.learned_map.material import Material, priors


@pytest.fixture
def material() -> Material:
    labels, slices = head(), slices_of_heads()
    scan = healthy_bank.Inputs("scan", "T1", slices.image[:4], slices.tissue[:4], np.zeros(0, np.uint8))
    mask = torch.zeros(3, 4, 5, dtype=torch.uint8)
    mask[1, 2, 3] = 1
    return Material({"head": labels, "slices": slices, "scan": scan}, [(mask, (1.0, 2.0, 3.0))], priors([labels]))


def test_a_file_is_prepared_once_and_again_when_it_changes(tmp_path):
    file, made = tmp_path / "scan.nii", []
    file.write_bytes(b"one")

    def prepared(path):
        made.append(path.read_bytes())
        return slices_of_heads(2)

    for content in (b"one", b"one", b"two"):
        file.write_bytes(content)
        found = healthy_bank.cached(file, tmp_path / "cache", prepared)
    assert made == [b"one", b"two"]
    assert np.array_equal(found.image, slices_of_heads(2).image) and found.kind == "slices"


def test_a_slice_is_centered_as_the_atlas_is():
    image = np.zeros((100, 90), np.float32)
    image[10:60, 20:80] = 1
    placed = healthy_bank.centered(image, image > 0, 18.0)
    rows, columns = (np.flatnonzero(placed.any(axis=axis)) for axis in (1, 0))
    assert placed.shape == healthy_bank.FINE.size[1::-1] and placed.sum() == image.sum()
    assert abs(columns.mean() - (healthy_bank.FINE.size[0] - 1) / 2) < 2, "the mid-plane is in the middle"
    assert 70 < rows.mean() < 110


def test_of_one_contrast_only_what_can_show_it_is_drawn(material):
    flair = healthy_bank.Inputs(**{**vars(material.sources["scan"]), "contrast": "FLAIR"})
    sources = {**material.sources, "flair": flair}
    shown = {contrast: groups(sources, contrast) for contrast in (None, "T1", "T2", "FLAIR")}
    everything = {"labels": ["head"], "T1 scans": ["scan"], "slices": ["slices"], "other scans": ["flair"]}
    assert shown[None] == everything and shown[material.sources["slices"].contrast]["slices"] == ["slices"]
    assert shown["T1"] == {"labels": ["head"], "T1 scans": ["scan"]}, "which are made to look like any"
    batches = Batches(Material(sources, material.shapes, material.priors), 0, "T2")
    code = batches[0].inputs.coarse[:, 2:5, 0, 0]  # T1, T2, FLAIR; none is told in a few
    assert set(map(tuple, code.tolist())) <= {(0, 1, 0), (0, 0, 0)} and code.any()
