import numpy as np
import pytest
import SimpleITK as sitk
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.training.data import synthesis
from conddiffusion_uad.training.data.anatomy import TISSUES, brain_of, tissue_fractions, tissue_labels
from conddiffusion_uad.training.data.corpus import Anatomy, Scan
from conddiffusion_uad.training.data.sampling import AnatomySampler, ScanSampler, normalized

NAMES = list(TISSUES)


def label_map() -> sitk.Image:
    """A head of spheres: skin (507), fluid (24), cortex (3), white matter (2), a ventricle (4)."""
    z, y, x = np.indices((64, 64, 64)) - 31.5
    radius = np.sqrt(z**2 + y**2 + x**2)
    labels = np.zeros(radius.shape, np.int32)
    for limit, label in ((31, 507), (27, 24), (24, 3), (20, 2), (6, 4)):
        labels[radius < limit] = label
    image = sitk.GetImageFromArray(labels)
    image.SetOrigin((-31.5, -31.5, -31.5))
    return image


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    grid = Grid(size=(32, 32, 32), spacing=(2.0, 2.0, 2.0), origin=(-31.0, -31.0, -31.0))
    return Anatomy("spheres", tissue_fractions(label_map(), sitk.Transform(), grid))


def test_labels_become_tissues_and_the_head_is_left_out() -> None:
    classes = tissue_labels(label_map())
    assert classes[32, 32, 32] == 1 + NAMES.index("ventricles")
    assert classes[32, 32, 50] == 1 + NAMES.index("white matter")
    assert classes[32, 32, 61] == 0
    lesion = sitk.GetImageFromArray(np.full((1, 1, 2), 25, np.int32))
    assert (tissue_labels(lesion) == 1 + NAMES.index("white matter")).all()


def test_brain_is_solid_tissue_with_its_holes_and_without_the_fluid_around_it() -> None:
    brain = brain_of(tissue_labels(label_map()), 1.0)
    assert brain[32, 32, 32]
    assert not brain[32, 32, 32 + 26]
    assert brain.sum() == pytest.approx(4 / 3 * np.pi * 24**3, rel=0.05)


def test_fractions_add_up_and_keep_the_volume(anatomy: Anatomy) -> None:
    total = anatomy.fractions[:-1].astype(float).sum(0) / 255
    assert total[16, 16, 8:24] == pytest.approx(1.0, abs=0.03)
    white = anatomy.fractions[NAMES.index("white matter")].astype(float).sum() / 255 * 8
    assert white == pytest.approx(4 / 3 * np.pi * (20**3 - 6**3), rel=0.03)


@pytest.mark.parametrize(
    ("contrast", "brightest", "darkest"),
    [("T1", "white matter", "ventricles"), ("T2", "ventricles", "white matter"), ("FLAIR", None, "ventricles")],
)
def test_synthetic_scans_have_the_order_of_tissues_of_their_contrast(
    anatomy: Anatomy, contrast: str, brightest: str | None, darkest: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    sampler = AnatomySampler([anatomy], torch.device("cpu"))
    scans = [sampler.volume(0, contrast, generator) for _ in range(8)]
    images = torch.stack([scan for scan, _ in scans])[:, :, 0]
    pure = torch.from_numpy(anatomy.fractions[:-1] > 250)
    mean = {n: images[:, pure[NAMES.index(n)]].mean().item() for n in ("white matter", "cortex", "ventricles")}
    assert brightest in (None, max(mean, key=mean.get))
    assert min(mean, key=mean.get) == darkest
    assert not any(scan[~mask].any() for scan, mask in scans)
    assert 0 <= images.min() <= images.max() <= 1


def test_draws_differ_and_are_decided_by_the_seed(anatomy: Anatomy) -> None:
    sampler = AnatomySampler([anatomy], torch.device("cpu"))
    first, again = (sampler.draw(4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (4, 1, 32, 32)
    assert (first[0] - first[1]).abs().mean() > 0.01


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


def test_percentiles_of_the_probe_become_zero_and_one() -> None:
    probe = torch.linspace(10, 20, 1001)[None]
    images = torch.tensor([[[[10.1, 15.0, 19.9, 40.0]]]])
    assert normalized(images, probe).flatten().tolist() == pytest.approx([0, 0.5, 1, 1], abs=1e-4)


def test_t1_scan_can_become_t2_and_stays_inside_its_mask() -> None:
    rng = np.random.default_rng(0)
    volume = np.select([rng.random((4, 32, 32)) < 0.2, rng.random((4, 32, 32)) < 0.5], [0.1, 0.5], 0.9)
    mask = np.zeros(volume.shape, bool)
    mask[:, 4:28, 4:28] = True
    scan = Scan("cubes", "T1", (volume * mask).astype(np.float16), mask, (0.1, 0.5, 0.9))
    images, inside = ScanSampler([scan], torch.device("cpu")).volume(0, "T2", torch.Generator().manual_seed(0))
    fluid, gray, white = (
        images[:, 0][torch.from_numpy(mask & (scan.volume.round(1) == v))].mean() for v in (0.1, 0.5, 0.9)
    )
    assert fluid > gray > white
    assert not images[~inside].any()


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
