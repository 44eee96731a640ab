from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from conddiffusion_uad.detection.recorder import Recorder as Notes
from conddiffusion_uad.method.restore.one_step import reconstruct, reconstruct_within_memory, slice_seeds
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import Cancelled


class Recorder(nn.Module):
    """Stands in for the model: returns the slices plus a known term for each level, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.encoded: list[torch.Tensor] = []
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.encoder = self._encode

    def _encode(self, slices: torch.Tensor) -> torch.Tensor:
        self.encoded.append(slices)
        return slices.mean((1, 2, 3))

    def noise(self, seeds: Sequence[int], slices: torch.Tensor) -> torch.Tensor:
        return torch.tensor(seeds, dtype=torch.float64).view(-1, 1, 1, 1).expand(len(seeds), *slices.shape[1:])

    def forward(
        self, slices: torch.Tensor, level: torch.Tensor, noise: torch.Tensor, features: torch.Tensor
    ) -> torch.Tensor:
        self.calls.append((level, noise[:, 0, 0, 0], features))
        return slices + level.view(-1, 1, 1, 1) / 10_000


@pytest.fixture
def brain() -> tuple[np.ndarray, np.ndarray]:
    volume = np.random.default_rng(0).uniform(0.2, 0.5, (40, 8, 8)).astype(np.float32)
    mask = np.ones(volume.shape, bool)
    mask[:3] = False
    mask[:, 0] = False
    return volume, mask


def test_mean_over_the_levels_inside_the_mask(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    for levels in ((250, 500, 750), (100, 200, 300, 400, 900)):  # as many as are computed at once, and more
        result = reconstruct(volume, mask, Recorder(), levels=levels)
        assert result[mask] == pytest.approx(volume[mask] + np.mean(levels) / 10_000, abs=1e-6)
    assert not result[~mask].any()


def test_one_forward_a_level_and_one_encoding_a_slice(brain: tuple[np.ndarray, np.ndarray]) -> None:
    model = Recorder()
    reconstruct(*brain, model, levels=(250, 750))
    assert sum(len(batch) for batch in model.encoded) == 37  # empty slices cost nothing
    levels = torch.cat([level for level, *_ in model.calls])
    assert sorted(levels.tolist()) == 37 * [250] + 37 * [750]
    for _, _, features in model.calls:
        first, second = features.chunk(2)
        assert torch.equal(first, second)


def test_every_slice_and_level_has_noise_of_its_own(brain: tuple[np.ndarray, np.ndarray]) -> None:
    model = Recorder()
    reconstruct(*brain, model, levels=(250, 750), seed=3)
    seeds = torch.cat([noise for _, noise, _ in model.calls])
    assert len(seeds.unique()) == 2 * 37
    assert slice_seeds(3, 250, 40) == slice_seeds(3, 250, 40) != slice_seeds(4, 250, 40)


def test_cancelling_ends_it_between_batches(brain: tuple[np.ndarray, np.ndarray]) -> None:
    class Impatient(Quiet):
        def advance(self, fraction: float) -> None:
            if fraction > 0.3:
                raise Cancelled()

    model = Recorder()
    with pytest.raises(Cancelled):
        reconstruct(*brain, model, levels=(250,), progress=Impatient())
    assert len(model.calls) == 1


class Hungry(Recorder):
    """Has memory for a few slices at once."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self._most, self._error = most, error

    def forward(
        self, slices: torch.Tensor, level: torch.Tensor, noise: torch.Tensor, features: torch.Tensor
    ) -> torch.Tensor:
        if len(slices) > self._most:
            raise self._error
        return super().forward(slices, level, noise, features)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] data. DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.0 GB)."),
    ],
)
def test_when_the_memory_is_short_the_batch_is_halved_and_it_is_told(
    error: Exception, brain: tuple[np.ndarray, np.ndarray]
) -> None:
    notes = Notes(Quiet())
    options = {"levels": (250, 750), "seed": 3}
    made, batch = reconstruct_within_memory(*brain, Hungry(10, error), batch=16, progress=notes, **options)
    assert batch == 4
    assert [warning["code"] for warning in notes.warnings] == ["batch_halved"] * 2
    assert "16 slices" in notes.warnings[0]["message"] and "with 4" in notes.warnings[1]["message"]
    np.testing.assert_array_equal(made, reconstruct(*brain, Recorder(), batch=4, **options))


def test_memory_for_less_than_one_slice_is_a_failure(brain: tuple[np.ndarray, np.ndarray]) -> None:
    notes = Notes(Quiet())
    with pytest.raises(MemoryError):
        reconstruct_within_memory(*brain, Hungry(0, MemoryError()), levels=(250,), seed=0, batch=2, progress=notes)
    assert len(notes.warnings) == 1


def test_another_error_does_not_halve_the_batch(brain: tuple[np.ndarray, np.ndarray]) -> None:
    notes = Notes(Quiet())
    model = Hungry(5, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        reconstruct_within_memory(*brain, model, levels=(250,), seed=0, batch=16, progress=notes)
    assert notes.warnings == []
