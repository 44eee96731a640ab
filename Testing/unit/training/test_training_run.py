"""The training as a program: killed, interrupted, on two processes, with its log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from thin_files import disks, write_thin
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.failures import EXIT_CANCELLED
from conddiffusion_uad.training import progress
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
objective = { kind = "synthetic_anomalies", share = 0.5, weight = 1.0 }
[validation]
every = 5
slices = 4
keep = "best"
[[source]]
kind = "scans"
files = "*.nii.gz"
contrast = "T2"
weight = 1.0
held_out = 2
"""
)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its data, and as "whole" the bundle that an uninterrupted training on one process makes of them."""
    folder = tmp_path_factory.mktemp("run")
    for number, image in enumerate(disks(12)):
        write_thin(folder / f"{number:02d}.nii.gz", image)
    (folder / "recipe.toml").write_text(RECIPE)
    complete(folder, "whole", "--tensorboard", str(folder / "log"))
    return folder


def complete(folder: Path, name: str, *more: str) -> None:
    """Train to the end, always with one thread: with another number of them, sums round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(fit(folder, name, *more)) == 0
    torch.set_num_threads(threads)


def fit(folder: Path, name: str, *more: str) -> list[str]:
    """The arguments of a training in the folder."""
    files = ["--recipe", str(folder / "recipe.toml"), "--data", str(folder), "--output", str(folder / name)]
    return ["train", "fit", *files, "--device", "cpu", *more]


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / name / bundles.WEIGHTS)


def step_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["step"]


def wait_for_step(checkpoint: Path, least: int, running: Callable[[], bool]) -> None:
    """Until the checkpoint of a running training is of that step or a later one."""
    deadline = time.monotonic() + 300
    while not checkpoint.exists() or step_of(checkpoint) < least:
        assert running() and time.monotonic() < deadline
        time.sleep(0.005)


def assert_same_weights(folder: Path, name: str) -> None:
    whole, resumed = weights(folder, "whole"), weights(folder, name)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_killed_training_goes_on_exactly(folder: Path, start: Start) -> None:
    checkpoint = folder / "killed" / CHECKPOINT
    process = start(*fit(folder, "killed", "--checkpoint-seconds", "0"))
    wait_for_step(checkpoint, 1, lambda: process.poll() is None)
    process.kill()
    process.communicate(timeout=60)
    assert 0 < step_of(checkpoint) < 20
    complete(folder, "killed")
    assert_same_weights(folder, "killed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_a_terminated_training_stores_where_it_is(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint, running = folder / "stopped" / CHECKPOINT, threading.Event()
    running.set()

    def terminate() -> None:
        wait_for_step(checkpoint, 2, running.is_set)
        os.kill(os.getpid(), signal.SIGTERM)

    earlier = signal.signal(signal.SIGTERM, lambda *_: None)  # should it come too late, the tests go on
    asking = threading.Thread(target=terminate)
    asking.start()
    assert main(fit(folder, "stopped", "--checkpoint-seconds", "0")) == EXIT_CANCELLED
    asking.join()
    signal.signal(signal.SIGTERM, earlier)
    running.clear()
    step = step_of(checkpoint)
    assert 2 <= step < 20 and f"Stopped at step {step}" in capfd.readouterr().err
    complete(folder, "stopped")
    assert_same_weights(folder, "stopped")


def test_two_processes_train_what_one_does(
    folder: Path, start: Start, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is that of `torchrun`; this process is the first one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    arguments, other = fit(folder, "shared"), {"RANK": "1", "LOCAL_RANK": "1"}
    second = subprocess.Popen(
        [sys.executable, "-m", "conddiffusion_uad", *arguments],
        env={**environment, **shared, **other},
        stderr=subprocess.PIPE,
        text=True,
    )
    for name, value in {**shared, "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 0
    _, error = second.communicate(timeout=300)
    assert second.returncode == 0, error
    assert "Wrote " not in error  # one process tells and writes
    assert not (folder / "shared" / CHECKPOINT).exists()
    one, two = weights(folder, "whole"), weights(folder, "shared")
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), atol=2e-3), name  # stored in half precision


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
