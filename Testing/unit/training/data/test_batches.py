"""Going through scans epoch by epoch, and the published augmentation against straightforward references."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from scipy import ndimage

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data import augmentation as augmentations
from conddiffusion_uad.training.data.augmentation import Augmentation
from conddiffusion_uad.training.data.batches import Ahead, Epochs
from conddiffusion_uad.training.data.corpus import Scan

SPACING = (2.0, 2.0, 2.0)
CPU = torch.device("cpu")
VOLUME = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((20, 24, 32)), 1).astype(np.float32))


def scans(count: int) -> list[Scan]:
    """Scans that are all of one value, their number."""
    volumes = [np.full((5, 8, 8), index, np.float16) for index in range(count)]
    return [Scan(f"{i}", "T2", volume, volume > 0, None) for i, volume in enumerate(volumes)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_scan_comes_once_an_epoch_in_another_order() -> None:
    batches = Epochs(scans(12), 4, 0, CPU, Augmentation(), SPACING)
    assert batches.per_epoch == 3
    orders = [
        [int(slices[0, 0, 0]) for step in range(3) for slices in batches.at(3 * epoch + step, generator())]
        for epoch in range(3)
    ]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_the_last_smaller_batch_is_dropped_and_a_batch_must_fill() -> None:
    assert Epochs(scans(11), 4, 0, CPU, Augmentation(), SPACING).per_epoch == 2
    with pytest.raises(BadInput, match="do not fill a batch"):
        Epochs(scans(3), 4, 0, CPU, Augmentation(), SPACING)


def test_without_effects_a_slice_is_itself() -> None:
    assert torch.equal(Augmentation().slice_of(VOLUME, 7, SPACING, generator()), VOLUME[7])


def test_gamma_is_a_power_of_the_whole_slice() -> None:
    image = Augmentation(gamma=1).slice_of(VOLUME, 7, SPACING, generator())
    exponent = torch.log(image) / torch.log(VOLUME[7])
    assert exponent.std() < 1e-4
    assert abs(np.log(float(exponent.mean()))) < 0.3


def test_the_bias_field_is_smooth_and_of_third_order() -> None:
    logarithm = torch.log(Augmentation(bias=1).slice_of(VOLUME, 7, SPACING, generator()) / VOLUME[7]).double()
    assert logarithm.std() > 0.01
    y, x = (torch.linspace(-1, 1, size).double() for size in VOLUME.shape[1:])
    terms = torch.stack([(y[:, None] ** i * x**j).flatten() for i in range(4) for j in range(4 - i)], 1)
    rest = logarithm.flatten() - terms @ torch.linalg.lstsq(terms, logarithm.flatten()[:, None]).solution[:, 0]
    assert rest.abs().max() < 1e-4


def test_blur_is_that_of_the_whole_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([torch.tensor([1.0, 1.6, 0.6])])
    monkeypatch.setattr(augmentations, "uniform", lambda *_: next(drawn))
    image = Augmentation(blur=1).slice_of(VOLUME, 10, (2.0, 2.0, 2.0), generator())
    expected = ndimage.gaussian_filter(VOLUME.numpy(), (0.3, 0.8, 0.5), truncate=4)[10]
    assert np.allclose(image[6:-6, 6:-6], expected[6:-6, 6:-6], atol=2e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ghosting_is_that_of_the_whole_volume(monkeypatch: pytest.MonkeyPatch, axis: int) -> None:
    size = VOLUME.shape[axis]
    lines = torch.where(torch.arange(size) % 5 == 0, 0.3, 1.0)
    lines[size // 2] = 1
    monkeypatch.setattr(augmentations, "_ghosts", lambda *_: (axis, torch.fft.ifftshift(lines)))
    image = Augmentation(ghosting=1).slice_of(VOLUME, 7, SPACING, generator())
    spectrum = np.fft.fftshift(np.fft.fft(VOLUME.numpy(), axis=axis), axes=axis)
    weight = np.moveaxis(np.broadcast_to(lines.numpy(), (1, 1, size)), 2, axis)
    expected = np.fft.ifft(np.fft.ifftshift(spectrum * weight, axes=axis), axis=axis).real[7]
    assert np.allclose(image, expected, atol=1e-5)
    assert not np.allclose(image, VOLUME[7], atol=1e-3)


def test_all_effects_come_as_often_as_wanted_and_are_reproducible() -> None:
    often = Augmentation(gamma=0.5, bias=0.25, blur=0.25, ghosting=0.5)
    images = [often.slice_of(VOLUME, 7, SPACING, generator(seed)) for seed in range(200)]
    assert all(torch.isfinite(image).all() for image in images)
    assert torch.equal(images[3], often.slice_of(VOLUME, 7, SPACING, generator(3)))
    untouched = np.mean([torch.equal(image, VOLUME[7]) for image in images])
    assert untouched == pytest.approx(0.5 * 0.75 * 0.75 * 0.5, abs=0.08)


def test_drawing_ahead_changes_nothing_but_the_thread() -> None:
    threads = []

    def draw(step: int) -> int:
        threads.append(threading.current_thread())
        return step**2

    steps = [0, 1, 2, 5, 6]  # a resumed training jumps
    for count in (1, 3, 0):
        ahead = Ahead(draw, count, steps=8)
        threads.clear()
        assert [ahead(step) for step in steps] == [step**2 for step in steps]
        mine = threading.current_thread() in threads
        assert mine == (count == 0) and len(set(threads)) <= max(count, 1)


def test_as_many_steps_are_drawn_ahead_as_there_are_threads_and_none_after_the_last() -> None:
    drawn, went_on = [], threading.Event()

    def draw(step: int) -> int:
        drawn.append(step)
        if len(drawn) == 4:
            went_on.set()
        return step

    ahead = Ahead(draw, 3, steps=5)
    assert ahead(0) == 0 and went_on.wait(20)
    assert sorted(drawn) == [0, 1, 2, 3]
    assert [ahead(step) for step in range(1, 5)] == [1, 2, 3, 4]
    assert sorted(drawn) == [0, 1, 2, 3, 4]


def test_an_error_while_drawing_ahead_comes_in_its_step() -> None:
    ahead = Ahead(lambda step: 1 // (2 - step), 2, steps=4)
    assert [ahead(0), ahead(1)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        ahead(2)
