"""A folder with tiny wheels, and the real process that builds an environment of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import uv
from tiny_wheels import TEST, make_wheel

SOURCES = Path(__file__).resolve().parents[2] / "CondDiffusionUAD"


class Site:
    """A folder for environments, and what is to be built there."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.engine = folder / "engine"
        self.target = self.engine / "0123456789"
        self.test = folder / "test.py"
        self.test.write_text(TEST)
        self.requirements = folder / "requirements.txt"
        self.requirements.write_text("tinytorch>=1\n")
        # Nothing of this computer's own settings: a test must not reach any network.
        kept = ("PATH", "HOME", "SYSTEMROOT", "TMP", "TEMP", "LOCALAPPDATA")
        self.started = {name: os.environ[name] for name in kept if name in os.environ}
        self.started |= {"UV": uv.find_uv_bin(), "UV_NO_CONFIG": "1", "UV_TORCH_BACKEND": "cpu"}
        make_wheel(self.wheels, "tinytorch", requires=("tinyneed",))
        make_wheel(self.wheels, "tinyneed")

    def order(self, **more: Any) -> dict[str, Any]:
        """What is to be done: build from the wheels, with this Python."""
        return {
            "environment": str(self.target),
            "requirements": str(self.requirements),
            "module": str(SOURCES),
            "scan": "",
            "started": self.started,
            "wheels": str(self.wheels),
            "python": sys.executable,
            "test": str(self.test),
            **more,
        }

    def begin(self, **more: Any) -> subprocess.Popen[str]:
        """Start the process with its order."""
        environment = {**os.environ, "PYTHONPATH": str(SOURCES), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "0"}
        for name in [name for name in environment if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"]:
            del environment[name]
        process = subprocess.Popen(
            [sys.executable, "-m", "CondDiffusionUADLib.run.BuildEnvironment"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(self.order(**more)) + "\n")
        process.stdin.flush()
        return process

    def build(self, **more: Any) -> list[dict[str, Any]]:
        """Build, to the end; the events. Standard input stays open meanwhile, as Slicer keeps it."""
        process = self.begin(**more)
        assert process.stdout is not None and process.stderr is not None
        self.said: list[str] = []
        reader = threading.Thread(target=lambda: self.said.extend(process.stderr), daemon=True)
        reader.start()
        events = [json.loads(line) for line in process.stdout]
        process.wait(60)
        reader.join(10)
        assert self.left() == []
        return events

    def left(self) -> list[str]:
        """What should not be there any more."""
        return [path.name for path in self.engine.glob(".*")] if self.engine.is_dir() else []


def wait_for(process: subprocess.Popen[str], name: str) -> None:
    """Read events until a step of that name."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        assert event["event"] == "step", event
        if event["name"] == name:
            return
    raise AssertionError(f"no step {name}")
