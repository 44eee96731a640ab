"""Training the learned map: it learns, stops and goes on as if it had not stopped."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads
from safetensors.torch import load_file
from tiny_model import DENOISER, tiny_method
from tiny_model import trained as trained_model

from conddiffusion_uad.method.anomaly_map.learned import Learned
from conddiffusion_uad.method.anomaly_map.learned_inputs import (
    COARSE_CHANNELS,
    FINE_CHANNELS,
    RECONSTRUCTED,
    SliceInputs,
)
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.training.learned_map import curve, loop
from conddiffusion_uad.training.learned_map.balance import balanced
from conddiffusion_uad.training.learned_map.batches import Batch, Batches
from conddiffusion_uad.training.learned_map.loop import CHECKPOINT, Keeping, Settings, Training
from conddiffusion_uad.training.learned_map.material import Material, priors


class Easy:
    """Batches with a bright square to be found, by number."""

    priors = torch.zeros(4, 40, 48, 40)

    def __getitem__(self, number: int) -> Batch:
        generator = torch.Generator().manual_seed(number)
        fine = 0.3 * torch.rand(4, FINE_CHANNELS, 64, 64, generator=generator)
        label = torch.zeros(4, 1, 64, 64)
        for k, (y, x) in enumerate(torch.randint(4, 48, (4, 2), generator=generator).tolist()):
            label[k, :, y : y + 9, x : x + 9] = 1
        fine[:, 1:2] += 0.5 * label
        brain = torch.ones(4, 1, 64, 64, dtype=torch.bool)
        inputs = SliceInputs(fine, torch.zeros(4, COARSE_CHANNELS, 32, 32), brain)
        return Batch(inputs, label, brain.float(), balanced(label), label > 0)


def trained(folder, *runs: int) -> Training:
    """A training in runs that end before these steps, each from the checkpoint of the one before."""
    for last in runs:
        training = Training(Easy(), Settings(warm_up=5, reconstructed=0, bf16=False), folder)
        training.resume()
        training.run(last=last, report=2)
    return training


def test_a_stopped_training_goes_on_as_if_it_had_not(tmp_path):
    whole, parts = trained(tmp_path / "whole", 6), trained(tmp_path / "parts", 3, 6)
    assert whole.step == parts.step == 6
    for name in ("model", "mean"):
        pairs = zip(getattr(whole, name).parameters(), getattr(parts, name).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_it_learns_what_is_bright(tmp_path):
    training = trained(tmp_path, 40)
    batch = Easy()[1000]
    with torch.inference_mode():
        found = torch.sigmoid(training.model.eval()(batch.inputs.fine, batch.inputs.coarse))
    assert float(found[batch.label > 0].mean()) > 3 * float(found[batch.label == 0].mean())
    noted = curve.lines(tmp_path / curve.CURVE)
    assert [line["step"] for line in noted] == list(range(2, 41, 2)) and noted[-1]["loss"] < 0.8 * noted[0]["loss"]


def test_it_ends_after_the_step_in_progress_when_asked(tmp_path):
    training = Training(Easy(), Settings(reconstructed=0, bf16=False), tmp_path)
    advance = training.advance
    training.advance = lambda batch: (setattr(training, "stopped", True), advance(batch))[1]
    training.run(last=10)
    assert training.step == 1 and (tmp_path / CHECKPOINT).is_file()


def test_the_rate_warms_up_and_cools_down():
    settings = Settings(learning_rate=1.0, warm_up=10, cool_down=(100, 20))
    assert [settings.rate(step) for step in (0, 9, 99, 109, 119, 200)] == pytest.approx([0.1, 1, 1, 0.5, 0, 0])


def test_the_rate_falls_to_zero_over_the_last_seconds(tmp_path, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))  # twice a step: a step takes 2 seconds
    training = Training(Easy(), Settings(learning_rate=1.0, warm_up=1, reconstructed=0, bf16=False), tmp_path)
    rates, advance = [], training.advance
    training.advance = lambda batch: (advance(batch), rates.append(training._optimizer.param_groups[0]["lr"]))[0]
    training.run(seconds=22, cooling=8)
    assert rates[:7] == [1.0] * 7 and rates[7:] == pytest.approx([7 / 8, 5 / 8, 3 / 8, 1 / 8])


def distance(training, parameters) -> float:
    """Of the weights of a training from others."""
    with torch.no_grad():
        return sum(float((a - b).norm()) for a, b in zip(training.model.parameters(), parameters, strict=True))


def test_from_a_light_checkpoint_it_goes_on_with_its_weights_and_nearly_as_it_would_have(tmp_path):
    settings = Settings(warm_up=5, reconstructed=0, bf16=False)
    first, light = Training(Easy(), settings, tmp_path / "whole"), Training(Easy(), settings, tmp_path / "light")
    first.run(last=6)
    light.folder.joinpath(CHECKPOINT).write_bytes(first.folder.joinpath(CHECKPOINT).read_bytes())
    assert light.resume()
    light.save(light=True)
    whole, kept = (each.folder.joinpath(CHECKPOINT).stat().st_size for each in (first, light))
    assert kept < 16 * 2**20 < whole
    light = Training(Easy(), settings, tmp_path / "light")
    assert light.resume() and light.step == 6
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), light.model.parameters(), strict=True))
    before = [parameter.detach().clone() for parameter in first.model.parameters()]
    for training in (first, light):
        training.run(last=8)
    assert distance(first, light.model.parameters()) < 0.05 * distance(first, before)


def test_the_curve_is_drawn_with_every_checkpoint_where_matplotlib_is(tmp_path, monkeypatch):
    training = trained(tmp_path, 3)
    picture = tmp_path / curve.PICTURE
    assert picture.stat().st_size > 1000
    picture.unlink()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    training.run(last=4, keeping=Keeping(exported=tmp_path / "weights.safetensors"))
    assert not picture.exists() and (tmp_path / "weights.safetensors").is_file()


def test_what_nobody_knows_does_not_count():
    batch = Easy()[0]
    logits = torch.zeros_like(batch.label)
    logits[:, :, :2] = 50.0
    known = batch.weight.clone()
    known[:, :, :2] = 0
    hidden = replace(batch, weight=known)
    with_row, without = loop.loss(logits, batch), loop.loss(logits, hidden)
    assert float(without) < float(with_row)
    assert float(without) == pytest.approx(float(loop.loss(torch.zeros_like(logits), hidden)))


def test_real_batches_train(tmp_path):
    labels = head()
    material = Material({"head.nii.gz": labels, "slices": slices_of_heads()}, [], priors([labels]))
    batches = Batches(material, 0)
    training = Training(batches, Settings(reconstructed=0), tmp_path)
    assert np.isfinite(training.advance(batches[0]))


def test_a_training_starts_from_what_another_exported(tmp_path):
    first = trained(tmp_path / "first", 3)
    first.export(tmp_path / "weights.safetensors")
    second = Training(Easy(), Settings(warm_up=5, reconstructed=0, bf16=False), tmp_path / "second")
    second.start_from(tmp_path / "weights.safetensors")
    assert second.step == 3
    for a, b in zip(first.mean.parameters(), second.model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)
    second.run(last=4)
    part = Learned()
    weights = part.build()
    weights.load_state_dict(load_file(tmp_path / "weights.safetensors"))


def test_processes_beside_the_training_make_the_same_batches(tmp_path):
    alone = trained(tmp_path / "alone", 4)
    helped = Training(Easy(), Settings(warm_up=5, reconstructed=0, bf16=False), tmp_path / "helped", workers=2)
    helped.run(last=4)
    assert all(torch.equal(a, b) for a, b in zip(alone.model.parameters(), helped.model.parameters(), strict=True))


def test_every_third_batch_comes_with_reconstructions_whoever_makes_it(tmp_path):
    torch.manual_seed(0)
    denoiser = trained_model(tiny_method(condition=Unconditional()).build(DENOISER))

    class Seen(Training):
        def advance(self, batch: Batch) -> float:
            known.append(batch.inputs.coarse[:, -RECONSTRUCTED:].clone())
            return super().advance(batch)

    made = []
    for workers in (0, 1):
        known: list[torch.Tensor] = []
        Seen(Easy(), Settings(bf16=False), tmp_path / str(workers), denoiser, workers=workers).run(last=5)
        made.append(known)
    alone, beside = made
    assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True))
    assert [bool(each[:, -1].all()) for each in alone] == [True, False, False, True, False]
    assert not alone[1].any() and not torch.equal(alone[0], alone[3])
