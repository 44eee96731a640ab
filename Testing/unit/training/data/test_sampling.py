"""What is drawn from label maps and scans: of the right contrast, inside the brain, and around the right place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from spheres import GRID, label_map

from conddiffusion_uad.method.context.mirror import Mirror
from conddiffusion_uad.method.context.neighbours import Neighbours
from conddiffusion_uad.model.slices import UNKNOWN
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data import anatomy_sampler, scan_sampler
from conddiffusion_uad.training.data.anatomy import TISSUES, tissue_fractions
from conddiffusion_uad.training.data.anatomy_sampler import AnatomySampler
from conddiffusion_uad.training.data.batches import BatchSampler
from conddiffusion_uad.training.data.corpus import Anatomy, Part, Scan
from conddiffusion_uad.training.data.scan_sampler import ScanSampler
from conddiffusion_uad.training.data.slabs import Slabs, View, around
from conddiffusion_uad.training.data.source import Source
from conddiffusion_uad.training.data.synthesis import normalized

NAMES = list(TISSUES)
CPU = torch.device("cpu")
VIEW = View(GRID)
DEEP = View(GRID, (Neighbours(1),))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return Anatomy("spheres", tissue_fractions(label_map(), sitk.Transform(), GRID))


def cubes(contrast: str = "T1", first: int = 0) -> Scan:
    """A scan of random voxels of three tissues in a box."""
    rng = np.random.default_rng(0)
    volume = np.select([rng.random((4, 32, 32)) < 0.2, rng.random((4, 32, 32)) < 0.5], [0.1, 0.5], 0.9)
    mask = np.zeros(volume.shape, bool)
    mask[:, 4:28, 4:28] = True
    tissues = (0.1, 0.5, 0.9) if contrast == "T1" else None
    return Scan("cubes", contrast, (volume * mask).astype(np.float16), mask, tissues, first=first)


@pytest.mark.parametrize(
    ("contrast", "brightest", "darkest"),
    [("T1", "white matter", "ventricles"), ("T2", "ventricles", "white matter"), ("FLAIR", None, "ventricles")],
)
def test_synthetic_scans_have_the_order_of_tissues_of_their_contrast(
    anatomy: Anatomy, contrast: str, brightest: str | None, darkest: str
) -> None:
    source, sampler = generator(), AnatomySampler([anatomy], CPU, VIEW)
    scans = [sampler.volume(0, contrast, source) for _ in range(8)]
    images = torch.stack([scan for scan, _ in scans])[:, :, 0]
    pure = torch.from_numpy(anatomy.fractions[:-1] > 250)
    mean = {n: images[:, pure[NAMES.index(n)]].mean().item() for n in ("white matter", "cortex", "ventricles")}
    assert brightest in (None, max(mean, key=mean.get))
    assert min(mean, key=mean.get) == darkest
    assert not any(scan[~mask].any() for scan, mask in scans)
    assert 0 <= images.min() <= images.max() <= 1


def test_draws_differ_and_are_decided_by_the_seed(anatomy: Anatomy) -> None:
    sampler = AnatomySampler([anatomy], CPU, VIEW)
    first, again = (sampler.draw(4, generator(5)) for _ in range(2))
    assert torch.equal(first.volume, again.volume)
    assert first.volume.shape == first.brain.shape == (4, 1, 32, 32)
    assert (first.volume[0] - first.volume[1]).abs().mean() > 0.01
    assert set(first.contrast.tolist()) <= {UNKNOWN, *range(len(CONTRASTS))}


def test_percentiles_of_the_probe_become_zero_and_one() -> None:
    probe = torch.linspace(10, 20, 1001)[None]
    images = torch.tensor([[[[10.1, 15.0, 19.9, 40.0]]]])
    assert normalized(images, probe).flatten().tolist() == pytest.approx([0, 0.5, 1, 1], abs=1e-4)


def test_t1_scan_can_become_t2_and_stays_inside_its_mask() -> None:
    scan = cubes()
    images, inside = ScanSampler([scan], CPU, VIEW).volume(0, "T2", generator())
    fluid, gray, white = (
        images[:, 0][torch.from_numpy(scan.mask & (scan.volume.round(1) == v))].mean() for v in (0.1, 0.5, 0.9)
    )
    assert fluid > gray > white
    assert not images[~inside].any()


def test_slices_around_a_place_are_empty_beyond_the_volume() -> None:
    volume = np.arange(3.0)[:, None, None] * np.ones((3, 2, 2))
    assert around(volume, 0, 1)[:, 0, 0].tolist() == [0, 0, 1]
    assert around(volume, 2, 2)[:, 0, 0].tolist() == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("kind", ["labels", "scans"])
def test_a_slab_is_one_scan_around_a_place_on_the_grid(
    kind: str, anatomy: Anatomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise and with slices that are all alike, the slices of a slab are alike, too."""
    for module in (anatomy_sampler, scan_sampler):
        monkeypatch.setattr(module, "degrade", lambda images, *_, **__: images)
    if kind == "labels":
        same = np.repeat(anatomy.fractions[:, 16:17], 32, axis=1)
        sampler: AnatomySampler | ScanSampler = AnatomySampler([replace(anatomy, fractions=same)], CPU, DEEP)
    else:
        scan = cubes("T2", first=14)
        alike = np.repeat(scan.volume[:1], 4, axis=0)
        sampler = ScanSampler([replace(scan, volume=alike)], CPU, DEEP)
    drawn = sampler.draw(12, generator(3))
    assert drawn.volume.shape == drawn.brain.shape == (12, 3, 32, 32)
    inside = [
        z for z in range(12) if 0 < drawn.z[z] - (0 if kind == "labels" else 14) < (31 if kind == "labels" else 3)
    ]
    assert inside
    for index in inside:
        assert torch.allclose(drawn.volume[index, 0], drawn.volume[index, 1], atol=1e-5)
        assert torch.allclose(drawn.volume[index, 2], drawn.volume[index, 1], atol=1e-5)
    if kind == "scans":
        assert set(drawn.z.tolist()) <= {14, 15, 16, 17}
        lowest = drawn.volume[drawn.z == 14]
        assert len(lowest) and not lowest[:, 0].any() and lowest[:, 1].any(dim=(1, 2)).all()


def test_the_network_sees_in_training_what_it_sees_in_a_detection() -> None:
    """Neighbours and the mirrored slice of an unchanged slab are those of the volume that it was cut from."""
    from conddiffusion_uad.method.brain import Volume, slices_of

    rng = np.random.default_rng(1)
    volume = rng.random(GRID.size[::-1]).astype(np.float32)
    contexts = (Neighbours(2), Mirror())
    view, z = View(GRID, contexts), np.array([0, 5, 31])
    pieces = torch.from_numpy(np.stack([around(volume, at, view.reach) for at in z]))
    drawn = Slabs.of(pieces.view(-1, 1, 32, 32), pieces.view(-1, 1, 32, 32) > 0, z.tolist(), ["T2"] * 3, view)
    seen, expected = drawn.slices(), slices_of(Volume(volume, volume > 0, GRID), contexts, "T2", z)
    for name in ("image", "brain", "context", "z", "contrast"):
        assert torch.equal(getattr(seen, name), getattr(expected, name)), name
    assert seen.context.shape == (3, 5, 32, 32)
    plain = replace(drawn, volume=drawn.volume[:, 2:3], brain=drawn.brain[:, 2:3], view=View(GRID)).slices()
    assert torch.equal(plain.image, seen.image) and torch.equal(plain.z, seen.z) and not plain.context.shape[1]


def test_sources_without_weight_are_not_drawn_from(anatomy: Anatomy) -> None:
    parts = [
        Part(Source("labels", "*", weight=0.0, held_out=0), [anatomy], []),
        Part(Source("scans", "*", weight=1.0, held_out=0, contrast="T2"), [cubes("T2", first=20)], []),
    ]
    assert set(BatchSampler(parts, CPU, VIEW).draw(16, generator()).z.tolist()) <= {20, 21, 22, 23}
