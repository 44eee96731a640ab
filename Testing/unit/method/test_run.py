from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_method
from torch import nn

from conddiffusion_uad.detection.recorder import Recorder as Notes
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import restore, score
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput, BundleFailure, Cancelled


class Recorder(nn.Module):
    """Stands in for the model: returns the image plus a known term for each timestep, and remembers what it was given.

    Attributes:
        most: Slices that it has memory for.
        error: Raised for more.
    """

    device = torch.device("cpu")

    def __init__(self, most: int = 1000, error: Exception | None = None) -> None:
        super().__init__()
        self.encoded: list[Slices] = []
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.encoder = self._encode
        self._most, self._error = most, error

    def _encode(self, slices: Slices) -> torch.Tensor:
        self.encoded.append(slices)
        return slices.image.mean((1, 2, 3))

    def noise(self, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(seeds, dtype=torch.float64).view(-1, 1, 1, 1).expand(len(seeds), *like.shape[1:])

    def forward(
        self, slices: Slices, timestep: torch.Tensor, noise: torch.Tensor, condition: torch.Tensor
    ) -> torch.Tensor:
        if len(slices) > self._most:
            raise self._error
        self.calls.append((timestep, noise[:, 0, 0, 0], condition))
        return slices.image + timestep.view(-1, 1, 1, 1) / 10_000


class Half:
    """A calibration that halves."""

    def score(self, anomaly_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return anomaly_map / 2


def bundle_of(model: nn.Module, calibration: Mapping[str, Any] | None = None, **parts: Any) -> Any:
    """What can score, with a model that stands in."""
    return SimpleNamespace(name="stand-in", model=model, method=tiny_method(**parts), calibration=calibration or {})


@pytest.fixture
def brain() -> Volume:
    volume = np.random.default_rng(0).uniform(0.2, 0.5, (40, 8, 8)).astype(np.float32)
    mask = np.ones(volume.shape, bool)
    mask[:3] = False
    mask[:, 0] = False
    return Volume(np.where(mask, volume, 0).astype(np.float32), mask)


def test_mean_over_the_timesteps_inside_the_mask(brain: Volume) -> None:
    for timesteps in ((250, 500, 750), (100, 200, 300, 400, 900)):  # as many as are computed at once, and more
        result = restore(bundle_of(Recorder()), brain, "T2", timesteps=timesteps).mean
        assert result[brain.mask] == pytest.approx(brain.volume[brain.mask] + np.mean(timesteps) / 10_000, abs=1e-6)
        assert not result[~brain.mask].any()


def test_every_timestep_gives_a_sample_and_they_disagree_as_they_differ(brain: Volume) -> None:
    restored = restore(bundle_of(Recorder()), brain, "T2", timesteps=(100, 300))
    assert restored.samples.shape == (2, *brain.volume.shape)
    assert restored.samples[1][brain.mask] == pytest.approx(brain.volume[brain.mask] + 0.03, abs=1e-6)
    assert restored.spread[brain.mask] == pytest.approx(0.01, abs=1e-6)
    assert not restored.spread[~brain.mask].any()


def test_the_uncertainty_is_the_standard_error_of_the_score_in_its_unit(brain: Volume) -> None:
    part = {"T2": Residual("absolute", tissue="any", smoothing="none")}
    bundle = bundle_of(Recorder(), {"T2": Half()}, anomaly_map=part)
    scored = score(bundle, brain, "T2", timesteps=(100, 300), uncertainty=True)
    # Without the one sample the residual is 0.03, without the other 0.01, and half of it the score.
    assert scored.uncertainty is not None
    assert scored.uncertainty[brain.mask] == pytest.approx(0.005, abs=1e-5)
    assert not scored.uncertainty[~brain.mask].any()
    assert scored.score[brain.mask] == pytest.approx(0.01, abs=1e-5)
    assert score(bundle, brain, "T2", timesteps=(100, 300)).uncertainty is None


def test_one_forward_a_timestep_and_one_encoding_a_slice(brain: Volume) -> None:
    model = Recorder()
    restore(bundle_of(model), brain, "T2", timesteps=(250, 750))
    assert sum(len(batch) for batch in model.encoded) == 37  # empty slices cost nothing
    timesteps = torch.cat([timestep for timestep, *_ in model.calls])
    assert sorted(timesteps.tolist()) == 37 * [250] + 37 * [750]
    for _, _, condition in model.calls:
        first, second = condition.chunk(2)
        assert torch.equal(first, second)


def test_every_slice_and_timestep_has_noise_of_its_own(brain: Volume) -> None:
    model = Recorder()
    restore(bundle_of(model), brain, "T2", timesteps=(250, 750), seed=3)
    seeds = torch.cat([noise for _, noise, _ in model.calls])
    assert len(seeds.unique()) == 2 * 37


def test_the_seed_of_a_slice_depends_on_its_place_alone() -> None:
    whole, part = Seeds(3, np.arange(40)).of(250), Seeds(3, np.array([7, 30])).of(250)
    assert part == [whole[7], whole[30]]
    assert whole != Seeds(4, np.arange(40)).of(250)
    states = np.random.SeedSequence([3, 250]).generate_state(40, np.uint32)  # as in earlier versions
    assert whole == states.tolist()


def test_cancelling_ends_it_between_batches(brain: Volume) -> None:
    class Impatient(Quiet):
        def advance(self, fraction: float) -> None:
            if fraction > 0.3:
                raise Cancelled()

    model = Recorder()
    with pytest.raises(Cancelled):
        restore(bundle_of(model), brain, "T2", timesteps=(250,), progress=Impatient())
    assert len(model.calls) == 1


def test_cancelling_ends_it_between_two_passes_of_one_batch(brain: Volume) -> None:
    class Cancelling(Quiet):
        def advance(self, fraction: float) -> None:
            if len(model.calls) == 2:
                raise Cancelled()

    model = Recorder()
    with pytest.raises(Cancelled):
        restore(bundle_of(model), brain, "T2", timesteps=tuple(range(1, 101)), progress=Cancelling())
    assert len(model.calls) == 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] data. DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.0 GB)."),
    ],
)
def test_when_the_memory_is_short_the_batch_is_halved_and_it_is_told(error: Exception, brain: Volume) -> None:
    notes = Notes(Quiet())
    restored = restore(bundle_of(Recorder(10, error)), brain, "T2", seed=3, batch=16, progress=notes)
    assert restored.batch == 4
    assert [warning["code"] for warning in notes.warnings] == ["batch_halved"] * 2
    assert "16 slices" in notes.warnings[0]["message"] and "with 4" in notes.warnings[1]["message"]
    roomy = restore(bundle_of(Recorder()), brain, "T2", seed=3, batch=4)
    np.testing.assert_array_equal(restored.samples, roomy.samples)


def test_memory_for_less_than_one_slice_is_a_failure(brain: Volume) -> None:
    notes = Notes(Quiet())
    with pytest.raises(MemoryError):
        restore(bundle_of(Recorder(0, MemoryError())), brain, "T2", batch=2, progress=notes)
    assert len(notes.warnings) == 1


def test_another_error_does_not_halve_the_batch(brain: Volume) -> None:
    notes = Notes(Quiet())
    with pytest.raises(RuntimeError, match="shapes"):
        restore(bundle_of(Recorder(5, RuntimeError("shapes do not fit"))), brain, "T2", progress=notes)
    assert notes.warnings == []


def test_a_score_is_the_calibrated_map_of_the_reconstruction(brain: Volume) -> None:
    seen: list[str] = []

    class Stages(Quiet):
        def stage(self, name: str) -> None:
            seen.append(name)

    bundle = bundle_of(
        Recorder(), {"T2": Half()}, anomaly_map={"T2": Residual("absolute", "none")}, restore=OneStep((200,))
    )
    scored = score(bundle, brain, "T2", progress=Stages())
    assert scored.anomaly_map[brain.mask] == pytest.approx(0.02, abs=1e-6)
    np.testing.assert_array_equal(scored.score, scored.anomaly_map / 2)
    assert scored.seen is scored.restored and seen == ["reconstruct", "score"]


def test_without_a_calibration_there_is_a_map_but_no_score(brain: Volume) -> None:
    scored = score(bundle_of(Recorder()), brain, "T2")
    assert scored.anomaly_map.shape == brain.volume.shape
    with pytest.raises(BundleFailure, match="not calibrated for T2"):
        _ = scored.score


def test_a_contrast_that_the_method_is_not_made_for_is_refused(brain: Volume) -> None:
    for work in (score, restore):
        with pytest.raises(BadInput, match="not made for T1"):
            work(bundle_of(Recorder()), brain, "T1")


def test_values_that_are_no_numbers_are_refused_wherever_they_arise(brain: Volume) -> None:
    class Broken(Recorder):
        def forward(self, slices: Slices, *others: torch.Tensor) -> torch.Tensor:
            return slices.image * torch.nan

    class BrokenMap:
        def __call__(self, restored: Restored, model: Any) -> np.ndarray:
            return np.where(restored.mask, np.nan, 0)

    class BrokenCalibration:
        def score(self, anomaly_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return np.where(mask, np.nan, 0)

    with pytest.raises(BundleFailure, match="not numbers"):
        score(bundle_of(Broken()), brain, "T2")
    with pytest.raises(BundleFailure, match="not numbers"):
        score(bundle_of(Recorder(), anomaly_map={"T2": BrokenMap()}), brain, "T2")
    with pytest.raises(BundleFailure, match="not numbers"):
        _ = score(bundle_of(Recorder(), {"T2": BrokenCalibration()}), brain, "T2").score
