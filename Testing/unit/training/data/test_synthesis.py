"""The parts of synthetic scans, each against what it says."""

import pytest
import torch

from conddiffusion_uad.training.data import synthesis


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_random_grid_without_strength_is_the_identity() -> None:
    image = torch.rand(2, 1, 24, 16)
    grid = synthesis.random_grid(2, (24, 16), torch.Generator().manual_seed(0), strength=0.0, mirror=False)
    assert torch.allclose(synthesis.warp(image, grid), image, atol=1e-5)


def test_rotation_keeps_lengths_on_oblong_slices() -> None:
    """A rotation must not shear: a disk stays a disk although height and width differ."""
    y, x = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(80) - 39.5, indexing="ij")
    disk = ((y**2 + x**2) < 20**2).float()[None, None].expand(16, 1, 96, 80)
    theta = torch.tensor([0.5]).expand(16)
    turned = synthesis.warp(disk, synthesis.affine(theta, torch.ones(16, 2), torch.zeros(16, 2), (96, 80)))
    assert (turned - disk).abs().mean() < 0.01


def test_blur_has_the_stated_width() -> None:
    point = torch.zeros(1, 1, 21, 21)
    point[..., 10, 10] = 1
    profile = synthesis.blurred(point, torch.tensor([0.9]))[0, 0].sum(0)
    offsets = torch.arange(21.0) - 10
    assert (profile * offsets**2).sum().sqrt().item() == pytest.approx(0.9, rel=0.02)


def test_remap_passes_through_its_control_points() -> None:
    sources, targets = torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[1.0, 0.2, 0.6]])
    images = torch.tensor([[[[0.0, 0.25, 0.5, 0.75, 1.0, 2.0]]]])
    assert synthesis.remap(images, sources, targets).flatten().tolist() == pytest.approx([1, 0.6, 0.2, 0.4, 0.6, 0.6])


def test_ghosts_repeat_the_head_and_keep_its_brightness() -> None:
    images = torch.zeros(64, 1, 48, 40)
    images[:, :, 16:32, 14:26] = 1.0
    generator = torch.Generator().manual_seed(0)
    found = synthesis.ghosted(images, 1.0, generator)
    assert found.shape == images.shape
    assert torch.allclose(found.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-5)
    outside = found[images == 0].view(64, -1).abs().amax(1)
    assert (outside > 0.005).float().mean() > 0.8
    assert torch.equal(synthesis.ghosted(images, 0.0, generator), images)


def test_smooth_fields_are_bicubic() -> None:
    field = synthesis.smooth_field(2, 3, (24, 20), 5, torch.Generator().manual_seed(0))
    control = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(control, (24, 20), mode="bicubic", align_corners=True)
    assert torch.allclose(field, expected, atol=1e-5)


def test_two_tissues_of_one_intensity_make_no_hole() -> None:
    """The fluid of a scan may be as dark as the background, from which the curve starts."""
    sources, targets = torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([[0.9, 0.8, 0.2, 0.6]])
    found = synthesis.remap(torch.tensor([[[[0.0, 0.25, 1.0]]]]), sources, targets)
    assert torch.isfinite(found).all()
    assert found.flatten().tolist()[1:] == pytest.approx([0.5, 0.6])


@pytest.mark.parametrize("change", ["degrade", "ghosted", "gamma"])
def test_slices_of_one_scan_share_what_is_random_but_noise(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = torch.rand(2, 1, 24, 20, generator=generator()).repeat_interleave(3, 0)
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(shape[0] if len(shape) == 1 else shape))
    options = {"share": 1.0} if change == "ghosted" else {}
    found = getattr(synthesis, change)(one, generator=generator(1), per_scan=3, **options).view(2, 3, 24, 20)
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 0], found[:, 2])
    assert not torch.allclose(found[:, 0], one.view(2, 3, 24, 20)[:, 0], atol=1e-3)
