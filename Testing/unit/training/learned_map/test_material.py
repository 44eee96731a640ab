"""Material of a training: cached by content, packed to what may travel."""

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads

from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.learned_map.batches import Batches, groups
from conddiffusion_uad.training.learned_map.material import Material, pack, priors, unpacked


@pytest.fixture
def material() -> Material:
    labels, slices = head(), slices_of_heads()
    scan = healthy_bank.Inputs("scan", "T1", slices.image[:4], slices.tissue[:4], np.zeros(0, np.uint8))
    mask = torch.zeros(3, 4, 5, dtype=torch.uint8)
    mask[1, 2, 3] = 1
    return Material({"head": labels, "slices": slices, "scan": scan}, [(mask, (1.0, 2.0, 3.0))], priors([labels]))


def test_packed_material_is_the_same_but_for_rounding(material, tmp_path):
    assert pack(material, tmp_path, 10_000_000) == []
    again = unpacked(tmp_path)
    assert set(again.sources) == set(material.sources)
    for name, inputs in material.sources.items():
        found = again.sources[name]
        assert (found.kind, found.contrast) == (inputs.kind, inputs.contrast)
        assert np.array_equal(found.tissue, inputs.tissue) and np.array_equal(found.heights, inputs.heights)
        assert np.abs(found.image.astype(float) - inputs.image.astype(float)).max() < 0.003
    assert torch.equal(again.shapes[0][0], material.shapes[0][0]) and again.shapes[0][1] == (1.0, 2.0, 3.0)
    assert torch.allclose(again.priors, material.priors, atol=1e-3)


def test_what_does_not_fit_is_told_and_left_out_real_t1_first(material, tmp_path):
    pack(material, tmp_path / "all", 10_000_000)
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "all").iterdir()}
    most = sum(sizes.values()) - 1
    assert pack(material, tmp_path / "less", most) == ["scan"]
    assert sum(file.stat().st_size for file in (tmp_path / "less").iterdir()) <= most


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


def test_of_single_slices_the_larger_source_is_drawn_most_packed_or_not(tmp_path):
    sources = {"b_many": slices_of_heads(4), "a_few": slices_of_heads(2)}
    material = Material(sources, [], torch.zeros(4, 40, 48, 40))
    pack(material, tmp_path, 10_000_000)
    assert groups(material.sources) == groups(unpacked(tmp_path).sources) == {"slices": ["b_many", "a_few"]}


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
