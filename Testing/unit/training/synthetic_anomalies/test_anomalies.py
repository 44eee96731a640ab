import pytest
import torch

from conddiffusion_uad.training.synthetic_anomalies.anomalies import blobs, corrupt


@pytest.fixture
def slices() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, 1, 96, 80, generator=generator).clamp(0.3, 0.7)
    images[..., :12, :] = images[..., -12:, :] = 0
    return images


def test_no_share_leaves_the_slices_alone(slices: torch.Tensor) -> None:
    corrupted, where = corrupt(slices, 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(corrupted, slices)
    assert not where.any()


def test_the_stated_share_is_corrupted_and_only_where_it_says(slices: torch.Tensor) -> None:
    corrupted, where = corrupt(slices, 0.5, torch.Generator().manual_seed(1))
    touched = (where > 0.5).flatten(1).any(1)
    assert touched.float().mean().item() == pytest.approx(0.5, abs=0.15)
    changed = (corrupted - slices).abs()
    assert changed[where > 0.9].mean() > 0.05
    assert changed[where < 1e-3].max() < 1e-3


def test_anomalies_stay_inside_the_brain_and_in_the_range_of_intensities(slices: torch.Tensor) -> None:
    corrupted, where = corrupt(slices, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(corrupted > 0, slices > 0)
    assert not where[slices == 0].any()
    assert corrupted.max() <= 1


def test_blobs_reach_from_lesions_of_a_few_voxels_to_large_tumors() -> None:
    brain = torch.ones(400, 1, 96, 80)
    area = blobs(brain, 18.0, torch.Generator().manual_seed(0)).sum((1, 2, 3))
    radius = (area / torch.pi).sqrt()
    assert radius.quantile(0.05) < 2
    assert radius.quantile(0.95) > 12


def test_the_seed_decides(slices: torch.Tensor) -> None:
    first, second, other = (corrupt(slices, 0.8, torch.Generator().manual_seed(s))[0] for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
