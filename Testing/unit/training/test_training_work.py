"""How much work a training step is: counted, so that a change that makes it slower fails on any computer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from launches import Launches
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.app import cli
from conddiffusion_uad.evaluation.benchmark import tables, training
from conddiffusion_uad.evaluation.benchmark.speed import counted_flop
from conddiffusion_uad.training import recipe as recipes

CPU = torch.device("cpu")
SLICES = 4
RECIPE = (
    TINY_MODEL
    + """
[fit]
samples = 64
batch = 8
learning_rate = 1e-3
precision = "bf16"
objective = { kind = "denoising", timesteps = [1, 500] }
[[source]]
kind = "labels"
files = "*"
weight = 0.5
held_out = 0
[[source]]
kind = "scans"
files = "*"
contrast = "T1"
weight = 0.5
held_out = 0
"""
)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what other threads do would not be seen
    yield
    torch.set_num_threads(threads)


def test_flop_and_launches_of_a_step_of_the_shipped_training() -> None:
    fit = training.synthetic_training(recipes.load("residual"), CPU, "bf16", SLICES)
    example = fit._ahead(0)
    assert counted_flop(lambda: fit.learn(example)) / SLICES / 1e9 == pytest.approx(10.38, abs=0.03)
    with Launches() as seen:
        fit.learn(example)
    count = seen.count
    assert count["convolution"] == count["convolution_backward"] == 66
    norms = 2 * 21 + 2  # of the blocks, the attention and the head
    assert count["native_group_norm"] == count["native_group_norm_backward"] == norms
    assert count["native_batch_norm"] == count["native_batch_norm_backward"] == 12  # of the encoder
    assert count["silu_backward"] == 66
    assert sum(count.values()) < 7_500


def test_flop_of_a_step_of_the_published_training() -> None:
    with torch.device("meta"):
        model = recipes.load("paper").bundle.build()
        given = torch.zeros(SLICES, 1, 96, 96), torch.zeros(SLICES, dtype=torch.long), torch.zeros(SLICES, 512)
    flop = counted_flop(lambda: model.denoiser(*given).sum().backward()) / SLICES / 1e9
    assert flop == pytest.approx(3 * 149.1, abs=0.5)


def test_a_step_is_measured_in_both_number_formats_on_synthetic_data() -> None:
    recipe = recipes.parse(recipes.tomllib.loads(RECIPE), RECIPE)
    found = training.measure(recipe, CPU, slices=2, rounds=1)
    assert [speed.form for speed in found] == ["fp32", "bf16"]
    assert found[0].flop == found[1].flop and found[0].ratio == 1
    assert all(0 < speed.waiting < 1 for speed in found)
    first = found[0]
    assert first.share == pytest.approx(first.flop / first.seconds / first.ceiling)


def test_the_training_is_a_table_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "tiny" / "configs").mkdir(parents=True)
    (tmp_path / "tiny" / "configs" / "recipe.toml").write_text(RECIPE)
    monkeypatch.setattr(training.bundles, "locate", lambda name: tmp_path / name)
    options = ["benchmark", "--training", "--no-paper", "--slices", "2", "--rounds", "1", "--device", "cpu", "--json"]
    assert cli.main([*options, "--bundle", "tiny", "--bundle", "without_a_recipe"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trainings"]) == 2 and {speed["name"] for speed in found["trainings"]} == {"tiny"}
    table = tables.text(found)
    assert all(word in table for word in ("fp32", "bf16", "slices/s", "share", "waiting"))
