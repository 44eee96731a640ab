"""The training as a program: killed, interrupted, on two processes, with its log."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import progress
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.progress import ConsoleLog, Status
from conddiffusion_uad.training.training_run import CHECKPOINT

RECIPE = (
    TINY_MODEL
    + """
[fit]
samples = 160
batch = 8
learning_rate = 2e-3
ema = 0.9
precision = "fp32"
levels = [1, 1000]
anomalies = { share = 0.5, weight = 1.0 }
[validation]
every = 5
slices = 4
keep = "best"
[[source]]
kind = "slices"
files = "slices.npz"
contrast = "T2"
spacing = 8.0
weight = 1.0
held_out = 2
"""
)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    """A recipe, its data, and as "whole" the bundle that an uninterrupted training on one process makes of them."""
    folder = tmp_path_factory.mktemp("run")
    y, x = np.mgrid[:24, :24] - 11.5
    rng = np.random.default_rng(0)
    disks = [(x**2 + y**2 < r**2) * rng.uniform(80, 120, (24, 24)) for r in rng.uniform(6, 11, 12)]
    np.savez(folder / "slices.npz", image=np.array(disks).astype(np.uint8))
    (folder / "recipe.toml").write_text(RECIPE)
    complete(start, *fit(folder, "whole", "--tensorboard", str(folder / "log")))
    return folder


def complete(start: Start, *arguments: object) -> None:
    """Train to the end, always in a process with one thread: with another number of them, sums round otherwise."""
    process = start(*arguments)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error.decode()


def fit(folder: Path, name: str, *more: str) -> list[str]:
    """The arguments of a training in the folder."""
    files = ["--recipe", str(folder / "recipe.toml"), "--data", str(folder), "--output", str(folder / name)]
    return ["train", "fit", *files, "--device", "cpu", *more]


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / name / bundles.WEIGHTS)


def assert_same_weights(folder: Path, name: str) -> None:
    whole, resumed = weights(folder, "whole"), weights(folder, name)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read().decode()
        time.sleep(0.005)


def test_a_killed_training_goes_on_exactly(folder: Path, start: Start) -> None:
    process = start(*fit(folder, "killed", "--checkpoint-seconds", 0))
    wait_for(folder / "killed" / CHECKPOINT, process)
    process.kill()
    process.communicate(timeout=60)
    step = torch.load(folder / "killed" / CHECKPOINT, weights_only=True)["step"]
    assert 0 < step < 20
    complete(start, *fit(folder, "killed"))
    assert_same_weights(folder, "killed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_a_terminated_training_stores_where_it_is(folder: Path, start: Start) -> None:
    process = start(*fit(folder, "stopped", "--checkpoint-seconds", 0))
    wait_for(folder / "stopped" / CHECKPOINT, process)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    step = torch.load(folder / "stopped" / CHECKPOINT, weights_only=True)["step"]
    assert f"Stopped at step {step}" in error.decode()
    complete(start, *fit(folder, "stopped"))
    assert_same_weights(folder, "stopped")


def test_two_processes_train_what_one_does(folder: Path, environment: dict[str, str]) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "conddiffusion_uad", *fit(folder, "shared")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Wrote ") == 1  # one process tells and writes
    assert not (folder / "shared" / CHECKPOINT).exists()
    one, two = weights(folder, "whole"), weights(folder, "shared")
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), atol=2e-3), name  # stored in half precision


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    Processes(1, 2).check(8)
    with pytest.raises(BadInput, match="2 processes cannot share a batch of 7"):
        Processes(1, 2).check(7)


def test_the_split_is_in_the_bundle(folder: Path) -> None:
    metadata = json.loads((folder / "whole" / bundles.METADATA).read_text())
    split = metadata["split"]
    assert (split["train"], split["held_out"], split["test"]) == (10, 2, 0)
    assert len(split["sha256"]) == 64
    assert metadata["held_out"] == ["slices.npz[10]", "slices.npz[11]"]


def test_curves_are_logged_for_tensorboard(folder: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "log")).Reload()
    assert [event.step for event in events.Scalars("validation loss")] == [5, 10, 15, 20]
    assert all(np.isfinite(event.value) for event in events.Scalars("loss"))


def test_without_tensorboard_the_training_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    ConsoleLog("Fitting", tmp_path / "log").status(Status(50, 50, 0.5, 10.0, 0.0, 0.0))
    error = capfd.readouterr().err
    assert "pip install tensorboard" in error and "loss 0.5000" in error


def test_a_terminal_gets_a_bar_with_loss_rate_and_remaining_time(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    log = ConsoleLog("Fitting")
    log.status(Status(25, 100, 0.1234, 15.0, 3725.0, 0.03))
    log("A line")
    bar, _, rest = capfd.readouterr().err.partition("left")
    assert f"[{'#' * 7}{'.' * 21}]  25%" in bar and "loss 0.1234  15.0 slices/s, 3% waiting for data  1:02:05" in bar
    assert rest.endswith("\rA line\n")
    assert progress.duration(59.9) == "0:00:59"
