"""What can compute, and what is said about a PyTorch that is missing or broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conddiffusion_uad.app.commands import devices as device_commands
from conddiffusion_uad.protocol.failures import EXIT_DEVICE

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.parametrize(
    ("architectures", "capability", "supported"),
    [
        (["sm_80", "sm_90"], (8, 6), True),
        (["sm_80", "sm_90"], (9, 0), True),
        (["sm_80", "sm_90"], (12, 0), False),
        (["sm_80", "compute_90"], (12, 0), True),
        (["sm_90a"], (9, 0), True),
        (["sm_86"], (8, 0), False),
        (["compute_120"], (9, 0), False),
        ([], (7, 5), True),
    ],
)
def test_a_card_is_known_to_a_build_or_not(
    architectures: list[str], capability: tuple[int, int], supported: bool
) -> None:
    assert device_commands._has_code_for(architectures, *capability) == supported


def test_the_cpu_is_always_there_and_last(start: Start) -> None:
    stdout, _ = start("devices", "--json").communicate(timeout=180)
    event = json.loads(stdout)
    assert event["event"] == "devices" and event["torch"]
    assert event["devices"][-1] == {"name": "cpu", "label": "CPU", "memory_gb": None, "supported": True}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')", "torch_missing"),
        ("raise OSError('libtorch_cuda.so: cannot open shared object file')", "torch_broken"),
        ("raise ImportError('DLL load failed while importing _C')", "torch_broken"),
        ("raise ImportError('libtorch_cpu.so: failed to map segment from shared object')", "out_of_memory"),
        ("raise ImportError('x.so: failed to map segment: Operation not permitted')", "torch_broken"),
        ("", "torch_broken"),
    ],
)
@pytest.mark.parametrize("arguments", [["devices", "--json"], ["detect", "{scan}", "--output", "{out}", "--json"]])
def test_missing_or_broken_torch_is_told_in_one_sentence(
    environment: dict[str, str], scan_file: Path, tmp_path: Path, arguments: list[str], source: str, code: str
) -> None:
    (tmp_path / "path" / "torch").mkdir(parents=True)
    (tmp_path / "path" / "torch" / "__init__.py").write_text(source, encoding="utf-8")
    path = f"{tmp_path / 'path'}{':' if sys.platform != 'win32' else ';'}{environment['PYTHONPATH']}"
    filled = [text.format(scan=scan_file, out=tmp_path / "out") for text in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "conddiffusion_uad", *filled],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        check=False,
        timeout=240,
    )
    event = json.loads(done.stdout.splitlines()[-1])
    assert (event["event"], event["code"]) == ("error", code)
    assert event["hint"] and done.returncode == EXIT_DEVICE
    assert not (tmp_path / "out").exists()
