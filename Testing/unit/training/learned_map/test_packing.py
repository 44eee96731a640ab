"""Material of a training packed to what may travel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads

from conddiffusion_uad.training.data.healthy_bank import Inputs
from conddiffusion_uad.training.learned_map.batches import groups
from conddiffusion_uad.training.learned_map.material import Material, priors
from conddiffusion_uad.training.learned_map.packing import pack, unpacked

MASK = torch.zeros(3, 4, 5, dtype=torch.uint8)
MASK[1, 2, 3] = 1


def scan(contrast: str, depth: int, seed: int) -> Inputs:
    """Noise, which does not get smaller by packing."""
    values = np.random.default_rng(seed).random((depth, 192, 160)).astype(np.float16)
    return Inputs("scan", contrast, values, np.ones(values.shape, np.uint8), np.zeros(0, np.uint8))


@pytest.fixture(scope="module")
def material() -> Material:
    labels, few = head(), slices_of_heads(2)
    sources = {
        "labels": labels,
        **{f"oasis{k}": scan("T1", 4, k) for k in range(3)},
        "b_many": slices_of_heads(4),
        "a_few": few,
        "p01_t1": scan("T1", 4, 5),
        "p01_t2": scan("T2", 4, 6),
    }
    return Material(sources, [(MASK, (1.0, 2.0, 3.0))], priors([labels]))


def test_packed_material_is_the_same_but_for_rounding(material, tmp_path):
    assert pack(material, tmp_path) == []
    again = unpacked(tmp_path)
    assert set(again.sources) == set(material.sources)
    for name, inputs in material.sources.items():
        found = again.sources[name]
        assert (found.kind, found.contrast) == (inputs.kind, inputs.contrast)
        assert np.array_equal(found.tissue, inputs.tissue) and np.array_equal(found.heights, inputs.heights)
        assert np.abs(found.image.astype(float) - inputs.image.astype(float)).max() < 0.003
    assert torch.equal(again.shapes[0][0], MASK) and again.shapes[0][1] == (1.0, 2.0, 3.0)
    assert torch.allclose(again.priors, material.priors, atol=1e-3)
    # Of single slices the larger source is drawn most, packed or not.
    assert groups(material.sources)["slices"] == groups(again.sources)["slices"] == ["b_many", "a_few"]
    with pytest.raises(FileExistsError, match="holds material already"):
        pack(material, tmp_path)


def test_of_what_does_not_fit_each_group_keeps_its_share_and_the_rarest(material, tmp_path):
    sizes = {}
    pack(material, tmp_path / "all")
    for file in (tmp_path / "all").iterdir():
        sizes[file.stem] = file.stat().st_size
    chosen = ("shapes", "labels", "oasis2", "a_few", "b_many", "p01_t2")
    most = sum(sizes[name] for name in chosen) + sizes["oasis1"] + 1000
    left_out = pack(material, tmp_path / "less", most)
    kept = {file.stem for file in (tmp_path / "less").iterdir()}
    assert kept >= set(chosen) and set(left_out) == set(sizes) - kept
    assert "oasis1" in kept, "T1 scans are drawn four times as often as other ones"
    assert sum(file.stat().st_size for file in (tmp_path / "less").iterdir()) <= most


def test_where_nothing_fits_it_says_so(material, tmp_path):
    with pytest.raises(ValueError, match="100 bytes hold no material"):
        pack(replace(material, sources={}), tmp_path, 100)
