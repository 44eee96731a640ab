"""A bare brain is recognized and left alone, a head is stripped; both for several contrasts and fields of view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing import skull, stripped
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput

ATLAS = atlases.load()
# Intensities of brain (from, to), fluid, bone and scalp.
LOOKS = {"T1": (80, 200, 40, 10, 220), "T2": (140, 70, 230, 12, 110), "FLAIR": (110, 80, 20, 8, 170)}


def brain(look: str, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Intensities of the atlas' brain in a contrast, its mask, and their grid, with room for a head around."""
    size = tuple(round(n / s) for n, s in zip((216, 252, 224), spacing, strict=True))
    grid = Grid(size, spacing, (-108.0, -108.0, -100.0))
    t1 = sitk.GetArrayFromImage(sitk.Resample(ATLAS.t1, grid.blank())) / 255.0
    mask = sitk.GetArrayFromImage(sitk.Resample(ATLAS.mask, grid.blank(), sitk.Transform(), sitk.sitkNearestNeighbor))
    low, high, fluid, *_ = LOOKS[look]
    values = np.where(t1 < 0.25, fluid, low + (high - low) * np.clip((t1 - 0.25) / 0.65, 0, 1))
    values += np.random.default_rng(0).normal(0, 3, values.shape)
    return values * (mask > 0), mask > 0, grid


def head(look: str, noise: float = 0.0, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> sitk.Image:
    """The brain in 2 mm of fluid, 6 mm of bone and 6 mm of scalp; the background 0, or noisy."""
    values, mask, grid = brain(look, spacing)
    inside = grid.with_array(mask.astype(np.uint8))
    depth = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(inside, squaredDistance=False, useImageSpacing=True))
    _, _, fluid, bone, scalp = LOOKS[look]
    random = np.random.default_rng(1)
    for least, most, intensity in ((0, 2, fluid), (2, 8, bone), (8, 14, scalp)):
        shell = ~mask & (depth > least) & (depth <= most)
        values[shell] = intensity + random.normal(0, 3, int(shell.sum()))
    values[depth > 14] = np.abs(random.normal(0, noise, int((depth > 14).sum()))) if noise else 0.0
    return grid.with_array(values.astype(np.float32))


def bare(look: str, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> sitk.Image:
    values, _, grid = brain(look, spacing)
    return grid.with_array(values.astype(np.float32))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 1.5, 5.0)], ids=["cubes", "thick"])
def test_heads_and_bare_brains_are_told_apart(look: str, spacing: tuple[float, float, float]) -> None:
    assert stripped.is_stripped(bare(look, spacing))
    assert not stripped.is_stripped(head(look, spacing=spacing))
    assert not stripped.is_stripped(head(look, noise=4.0, spacing=spacing))


@pytest.mark.parametrize("look", LOOKS)
def test_a_part_of_a_head_or_of_a_brain_is_enough(look: str) -> None:
    whole, naked = head(look), bare(look)
    for first, last in ((45, 75), (60, 88), (55, 100)):
        assert not stripped.is_stripped(whole[:, :, first:last])
        assert stripped.is_stripped(naked[:, :, first:last])
    assert stripped.is_stripped(naked[18:90, 18:112, 20:90])  # cut to the brain, or even into it


def test_a_background_that_rings_a_little_below_zero_is_still_flat() -> None:
    image = bare("T1")
    values = sitk.GetArrayFromImage(image)
    random = np.random.default_rng(2)
    outside = values == 0
    values[outside] += np.where(random.random(outside.sum()) < 0.05, random.normal(0, 0.2, outside.sum()), 0)
    ringing = sitk.GetImageFromArray(values)
    ringing.CopyInformation(image)
    assert stripped.is_stripped(ringing)


@pytest.mark.parametrize("background", [0.0, -5.0, 1000.0])
def test_the_foreground_keeps_ventricles_and_drops_specks(background: float) -> None:
    values, mask, grid = brain("T1")
    z, y, x = np.indices(values.shape)
    ventricle = (z - 52) ** 2 + (y - 46) ** 2 + (x - 54) ** 2 < 36
    assert mask[ventricle].all()
    values[ventricle] = 0.0
    values[2:4, 2:4, 2:4] = 50.0
    values[values != 0] += background if background < 500 else 0.0
    values[values == 0] = background
    found = sitk.GetArrayFromImage(stripped.foreground(grid.with_array(values.astype(np.float32)))) > 0
    assert found[ventricle].all()
    assert not found[2:4, 2:4, 2:4].any()
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.99


def test_a_bare_brain_is_left_alone_and_the_option_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pretend(image: sitk.Image, device: object) -> sitk.Image:
        calls.append(device)
        return sitk.Cast(image > 60, sitk.sitkUInt8)

    monkeypatch.setattr(skull, "_deepbet", pretend)
    image, whole = bare("T1"), head("T1")
    assert skull.brain_mask(image, "auto", "cpu", Quiet()).method == skull.ALREADY_STRIPPED
    assert skull.brain_mask(whole, "off", "cpu", Quiet()).method == skull.ALREADY_STRIPPED
    assert not calls
    assert skull.brain_mask(image, "on", "cpu", Quiet()).method == skull.DEEPBET
    assert skull.brain_mask(whole, "auto", "cpu", Quiet()).method == skull.DEEPBET
    assert calls == ["cpu", "cpu"]


def test_a_mask_that_reaches_into_the_scalp_is_cut_back() -> None:
    _, mask, grid = brain("FLAIR")
    whole = head("FLAIR", noise=2.0)
    inside = grid.with_array(mask.astype(np.uint8))
    generous = sitk.BinaryDilate(inside, [8, 8, 0])
    trimmed = sitk.GetArrayFromImage(skull.below_skull(generous, whole)) > 0
    scalp = sitk.GetArrayFromImage(generous) * ~mask
    assert (trimmed & mask).sum() > 0.995 * mask.sum()
    assert (trimmed * scalp).sum() < 0.6 * scalp.sum()
    untouched = sitk.GetArrayFromImage(skull.below_skull(inside, whole)) > 0
    assert (untouched & mask).sum() > 0.995 * mask.sum()


def test_one_outline_serves_four_millimeters(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[sitk.Image] = []
    monkeypatch.setattr(skull, "outline", lambda *given: looks.append(given[0]) or stripped.outline(*given))
    places = np.indices((40, 64, 64)) - np.array([20, 32, 32])[:, None, None, None]
    distance = np.sqrt((places**2).sum(axis=0))
    whole, inside = (sitk.GetImageFromArray((distance < radius).astype(np.float32)) for radius in (31, 24))
    kept = sitk.GetArrayFromImage(skull.below_skull(inside > 0, whole))
    assert len(looks) == 10
    assert {look.GetSize() for look in looks} == {(32, 32)}
    assert 0.9 < kept.sum() / (distance < 24).sum() <= 1


@pytest.mark.parametrize("top", [21, 22, 23])
def test_a_stack_that_ends_within_a_slab_has_no_brain_beyond(top: int) -> None:
    places = np.indices((40, 64, 64)) - np.array([20, 32, 32])[:, None, None, None]
    distance = np.sqrt((places**2).sum(axis=0))
    whole, inside = ((distance < radius).astype(np.float32) for radius in (31, 24))
    whole[top:] = 0
    images = [sitk.GetImageFromArray(values) for values in (inside, whole)]
    kept = sitk.GetArrayFromImage(skull.below_skull(images[0] > 0, images[1]))
    assert not kept[top:].any()
    assert kept[top - 1].sum() > 0.9 * inside[top - 1].sum(), "and the last slice keeps its own"


def speck() -> np.ndarray:
    values = np.zeros((40, 40, 40), np.float32)
    values[18:22, 18:22, 18:22] = np.arange(64).reshape(4, 4, 4) + 1
    return values


def scattered() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.random((90, 90, 90)) < 0.34).astype(np.float32) * random.uniform(1, 9, (90, 90, 90)).astype("f4")


@pytest.mark.parametrize("make", [speck, scattered])
def test_no_brain_is_told(make: Callable[[], np.ndarray]) -> None:
    with pytest.raises(BadInput) as caught:
        skull.brain_mask(sitk.GetImageFromArray(make()), "off", "cpu", Quiet())
    assert caught.value.code == "no_brain"
    assert caught.value.hint


def test_nothing_as_large_as_a_head_has_no_skull() -> None:
    values = np.zeros((40, 60, 60), np.float32)
    values[10:30, 20:40, 20:40] = 100  # no slice is large enough to be looked at
    assert stripped.is_stripped(sitk.GetImageFromArray(values))
    assert stripped.below_surface(stripped.level(sitk.GetImageFromArray(values))).dark_directions() == 0


def test_deepbet_finds_the_brain_of_a_head() -> None:
    spacing = (2.0, 2.0, 4.0)
    _, mask, grid = brain("FLAIR", spacing)
    found = skull.brain_mask(head("FLAIR", noise=3.0, spacing=spacing), "on", "cpu", Quiet()).mask
    assert found.GetPixelID() == sitk.sitkUInt8
    assert Grid.of(found) == grid
    array = sitk.GetArrayFromImage(found) > 0
    assert 2 * (array & mask).sum() / (array.sum() + mask.sum()) > 0.9
