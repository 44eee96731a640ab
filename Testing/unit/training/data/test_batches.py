"""Going through scans epoch by epoch, and drawing ahead."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.data.augmentation import Augmentation
from conddiffusion_uad.training.data.batches import Ahead, Epochs, batches
from conddiffusion_uad.training.data.corpus import Part, Scan
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.data.source import Source

VIEW = View(Grid((8, 8, 5), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0)))


def scans(count: int) -> list[Scan]:
    """Scans that are all of one value, their number."""
    volumes = [np.full((5, 8, 8), index, np.float16) for index in range(count)]
    return [Scan(f"{i}", "T2", volume, volume > 0, None) for i, volume in enumerate(volumes)]


def of_two_sources(count: int) -> list[tuple[Scan, int]]:
    """The same; those with odd numbers are from the second source."""
    return [(scan, index % 2) for index, scan in enumerate(scans(count))]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_scan_comes_once_an_epoch_in_another_order() -> None:
    batches = Epochs(of_two_sources(12), 4, 0, Augmentation(), VIEW)
    assert batches.per_epoch == 3
    orders = [
        [int(value) for step in range(3) for value in batches.at(3 * epoch + step, generator()).volume[:, 0, 0, 0]]
        for epoch in range(3)
    ]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_slabs_tell_their_source() -> None:
    slabs = Epochs(of_two_sources(12), 4, 0, Augmentation(), VIEW).at(0, generator())
    assert slabs.source.tolist() == [int(value) % 2 for value in slabs.volume[:, 0, 0, 0]]
    assert slabs[1:].source.tolist() == slabs.source.tolist()[1:]
    assert Slabs.cat([slabs, slabs]).source.tolist() == 2 * slabs.source.tolist()


def test_the_last_smaller_batch_is_dropped_and_a_batch_must_fill() -> None:
    assert Epochs(of_two_sources(11), 4, 0, Augmentation(), VIEW).per_epoch == 2
    with pytest.raises(BadInput, match="do not fill a batch"):
        Epochs(of_two_sources(3), 4, 0, Augmentation(), VIEW)


def test_nothing_is_learned_from_a_source_without_weight() -> None:
    text = (recipes.SHIPPED / "paper.toml").read_text(encoding="utf-8")
    recipe = recipes.parse(recipes.tomllib.loads(text))
    parts = [
        Part(Source("scans", "*", weight=weight, held_out=0, contrast="T2"), scans(4), []) for weight in (0.0, 1.0)
    ]
    assert batches(recipe, parts, 4, torch.device("cpu")).per_epoch == 1
    with pytest.raises(BadInput, match="No source of the recipe has a weight"):
        batches(recipe, parts[:1], 4, torch.device("cpu"))


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
