"""What is prepared for a machine with a graphics card, on the processor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_up_head import slices_of_heads

from conddiffusion_uad.training.learned_map.material import Material
from conddiffusion_uad.training.learned_map.packing import pack

STUDIES = Path(__file__).parents[2] / "studies"
MIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")


def run(*command: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)), env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def test_a_tree_that_is_too_large_to_travel_is_told(tmp_path):
    studies, ignored = tmp_path / "Testing" / "studies", tmp_path / "packed"
    for folder in (studies, ignored):
        folder.mkdir(parents=True)
    fits = studies / "gpu_fits.sh"
    fits.write_bytes((STUDIES / "gpu_fits.sh").read_bytes())
    fits.chmod(0o755)
    run("git", "init", "-q", tmp_path)
    (tmp_path / ".gitignore").write_text("/packed/\n")
    for name, size in (("known", 20 * MIB), ("unknown", 10 * MIB), ("packed/data.npz", 30 * MIB)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    run("git", "-C", tmp_path, "add", "known", "Testing")
    scripts = fits.stat().st_size + (tmp_path / ".gitignore").stat().st_size
    assert int(run(fits).stdout) == 34 * MIB - scripts
    assert int(run(fits, ignored, tmp_path / "known").stdout) == 4 * MIB - scripts, "known is counted once"
    os.truncate(ignored / "data.npz", 34 * MIB)
    refused = run(fits, ignored)
    assert refused.returncode == 1 and f"{scripts} more than may" in refused.stderr
    assert run(fits, ignored, MIB="70").returncode == 0
    assert run(fits, tmp_path / "nothing").returncode == 2


def test_it_trains_without_simpleitk_and_leaves_what_may_come_back(tmp_path):
    pack(Material({"slices": slices_of_heads()}, [], torch.zeros(4, 40, 48, 40)), tmp_path / "packed")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={STUDIES}/without_simpleitk:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = (
        STUDIES / "gpu_training.sh",
        60,
        tmp_path / "packed",
        tmp_path / "out",
        "--last",
        1,
        "--contrast",
        "FLAIR",
    )
    ended = run(*command, DEVICE="cpu", WORKERS="0", TRAIN_ONLY="1", PYTHON=str(python))
    log = (tmp_path / "out" / "train.log").read_text()
    assert ended.returncode == 0 and '"step": 1' in ended.stdout, log
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "out").iterdir()}
    assert set(sizes) == {"checkpoint.pt", "curve.jsonl", "curve.png", "learned_map.safetensors", "train.log"}
    assert max(sizes.values()) < 16 * MIB
