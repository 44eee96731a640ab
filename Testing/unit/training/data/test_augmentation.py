"""The published augmentation against straightforward references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from conddiffusion_uad.training.data import augmentation as augmentations
from conddiffusion_uad.training.data.augmentation import Augmentation

SPACING = (2.0, 2.0, 2.0)
VOLUME = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((20, 24, 32)), 1).astype(np.float32))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_effects_a_slice_is_itself() -> None:
    assert torch.equal(Augmentation().slices_of(VOLUME, [7], SPACING, generator())[0], VOLUME[7])


def test_gamma_is_a_power_of_the_whole_slice() -> None:
    image = Augmentation(gamma=1).slices_of(VOLUME, [7], SPACING, generator())[0]
    exponent = torch.log(image) / torch.log(VOLUME[7])
    assert exponent.std() < 1e-4
    assert abs(np.log(float(exponent.mean()))) < 0.3


def test_the_bias_field_is_smooth_and_of_third_order() -> None:
    logarithm = torch.log(Augmentation(bias=1).slices_of(VOLUME, [7], SPACING, generator())[0] / VOLUME[7]).double()
    assert logarithm.std() > 0.01
    y, x = (torch.linspace(-1, 1, size).double() for size in VOLUME.shape[1:])
    terms = torch.stack([(y[:, None] ** i * x**j).flatten() for i in range(4) for j in range(4 - i)], 1)
    rest = logarithm.flatten() - terms @ torch.linalg.lstsq(terms, logarithm.flatten()[:, None]).solution[:, 0]
    assert rest.abs().max() < 1e-4


def test_blur_is_that_of_the_whole_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([torch.tensor([1.0, 1.6, 0.6])])
    monkeypatch.setattr(augmentations, "uniform", lambda *_: next(drawn))
    image = Augmentation(blur=1).slices_of(VOLUME, [10], (2.0, 2.0, 2.0), generator())[0]
    expected = ndimage.gaussian_filter(VOLUME.numpy(), (0.3, 0.8, 0.5), truncate=4)[10]
    assert np.allclose(image[6:-6, 6:-6], expected[6:-6, 6:-6], atol=2e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ghosting_is_that_of_the_whole_volume(monkeypatch: pytest.MonkeyPatch, axis: int) -> None:
    size = VOLUME.shape[axis]
    lines = torch.where(torch.arange(size) % 5 == 0, 0.3, 1.0)
    lines[size // 2] = 1
    monkeypatch.setattr(augmentations, "_ghosts", lambda *_: (axis, torch.fft.ifftshift(lines)))
    image = Augmentation(ghosting=1).slices_of(VOLUME, [7], SPACING, generator())[0]
    spectrum = np.fft.fftshift(np.fft.fft(VOLUME.numpy(), axis=axis), axes=axis)
    weight = np.moveaxis(np.broadcast_to(lines.numpy(), (1, 1, size)), 2, axis)
    expected = np.fft.ifft(np.fft.ifftshift(spectrum * weight, axes=axis), axis=axis).real[7]
    assert np.allclose(image, expected, atol=1e-5)
    assert not np.allclose(image, VOLUME[7], atol=1e-3)


def test_all_effects_come_as_often_as_wanted_and_are_reproducible() -> None:
    often = Augmentation(gamma=0.5, bias=0.25, blur=0.25, ghosting=0.5)
    images = [often.slices_of(VOLUME, [7], SPACING, generator(seed))[0] for seed in range(200)]
    assert all(torch.isfinite(image).all() for image in images)
    assert torch.equal(images[3], often.slices_of(VOLUME, [7], SPACING, generator(3))[0])
    untouched = np.mean([torch.equal(image, VOLUME[7]) for image in images])
    assert untouched == pytest.approx(0.5 * 0.75 * 0.75 * 0.5, abs=0.08)


def test_slices_of_one_volume_are_augmented_alike_and_empty_beyond_it() -> None:
    often = Augmentation(gamma=1, bias=1, blur=1, ghosting=1)
    three = often.slices_of(VOLUME, [-1, 0, 1], SPACING, generator(4))
    assert not three[0].any()
    for index, z in ((1, 0), (2, 1)):
        assert torch.allclose(three[index], often.slices_of(VOLUME, [z], SPACING, generator(4))[0], atol=1e-6)
