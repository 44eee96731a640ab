"""Installs the engine's environment for real, and makes the installation fail in each way: what is told, what is left.

    python Testing/studies/install_for_real.py --python /usr/bin/python3.11 --wheels FOLDER [--only NAME ...]

The packages come from the index that pip and uv are told to use, or from a folder of wheels, which the README tells how
to fill. --builder names the Python that runs the installation: Slicer's PythonSlicer, or the one of this study.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "CondDiffusionUAD"
BEGIN = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_module({!r}, None, '__main__')"
UNREACHABLE = "http://127.0.0.1:9"


@dataclass
class Trial:
    """One installation.

    Attributes:
        name: Of the trial.
        wanted: The event that it has to end with: "done", or the code of an error.
        order: What is ordered beside the usual.
        variables: Of the environment, beside the usual.
        cancel_at: The step at which it is given up; empty for never.
    """

    name: str
    wanted: str
    order: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    cancel_at: str = ""


def trials(python: str, wheels: Path, broken: Path, small: Path | None) -> list[Trial]:
    """All trials.

    Args:
        python: The Python to build with.
        wheels: A folder of all wheels.
        broken: The same, with a wheel that is cut off.
        small: A file system with too little room; None when there is none.
    """
    offline = {"UV_DEFAULT_INDEX": f"{UNREACHABLE}/simple", "UV_HTTP_RETRIES": "0"}
    usual = {"python": python}
    made = [
        Trial("registry", "done", usual),
        Trial("folder of wheels", "done", {**usual, "wheels": str(wheels)}, offline),
        Trial("no network", "no_network", usual, {**offline, "ALL_PROXY": UNREACHABLE}),
        Trial("damaged wheel", "download_broken", {**usual, "wheels": str(broken)}, offline),
        Trial("too old a Python", "no_python", {"python": "3.9", "wheels": str(wheels)}, offline),
        Trial("no such Python", "no_python", {"python": "/no/such/python", "wheels": str(wheels)}, offline),
        Trial("canceled in the download", "cancelled", {**usual, "wheels": str(wheels)}, offline, "download"),
        Trial("canceled in the test", "cancelled", {**usual, "wheels": str(wheels)}, offline, "try"),
    ]
    if small is not None:
        order = {**usual, "wheels": str(wheels), "environment": str(small / "Engine" / "environment")}
        made.append(Trial("too little room", "no_room", order, offline))
    return made


def attempt(trial: Trial, builder: str, folder: Path) -> tuple[str, float, float, list[str]]:
    """Run a trial; how it ended, its seconds, the seconds from giving up to the end, and the names of what is left."""
    order = {
        "environment": str(folder / "Engine" / "environment"),
        "requirements": str(ROOT / "Resources" / "requirements.txt"),
        "module": str(SOURCES),
        "scan": str(ROOT / "Resources" / "SampleData" / "synthetic_T2_brain.nii.gz"),
        "expected": 400_000_000,
        "started": {**os.environ, **trial.variables},
        **trial.order,
    }
    begun = canceled = time.monotonic()
    process = subprocess.Popen(
        [builder, "-c", BEGIN.format("CondDiffusionUADLib.run.BuildEnvironment"), str(SOURCES)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    log: list[str] = []
    threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True).start()
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    end: dict[str, Any] = {}
    for line in process.stdout:
        end = json.loads(line)
        if end["event"] == "question":
            print(f"  asked: {end['download'] / 1e6:.0f} MB", flush=True)
            process.stdin.write('{"answer": false}\n')
            process.stdin.flush()
        if trial.cancel_at and end.get("name") == trial.cancel_at and canceled == begun:
            canceled = time.monotonic()
            process.stdin.write("cancel\n")
            process.stdin.flush()
    process.wait()
    print(f"  {end.get('message', '')}\n  " + "  ".join(log[-3:] if end["event"] == "error" else []), flush=True)
    now = time.monotonic()
    left = sorted(path.name for path in Path(order["environment"]).parent.glob("*"))
    return end.get("code", end["event"]), now - begun, now - canceled if trial.cancel_at else 0.0, left


def with_folders(wheels: Path, use: Callable[[Path, Path | None], int]) -> int:
    """Call `use` with a copy of the wheels of which one is cut off, and a small file system where one can be made."""
    with tempfile.TemporaryDirectory() as temporary:
        broken, small = Path(temporary) / "broken", Path(temporary) / "small"
        shutil.copytree(wheels, broken)
        damaged = max(broken.glob("*.whl"), key=lambda path: path.stat().st_size * ("torch" not in path.name))
        data = damaged.read_bytes()
        damaged.unlink()
        damaged.write_bytes(data[: len(data) // 2])
        small.mkdir()
        mounted = sys.platform == "linux" and os.geteuid() == 0
        if mounted:
            mount = ["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(small)]
            mounted = subprocess.run(mount, check=False).returncode == 0
        try:
            return use(broken, small if mounted else None)
        finally:
            if mounted:
                subprocess.run(["umount", str(small)], check=False)


def main() -> int:
    """Run the trials; the number of those that ended otherwise than they had to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="", help="to build with")
    parser.add_argument("--wheels", type=Path, required=True, help="a folder of all wheels")
    parser.add_argument("--builder", default=sys.executable, help="runs the installation")
    parser.add_argument("--only", nargs="*", default=[], help="names of trials")
    options = parser.parse_args()

    def use(broken: Path, small: Path | None) -> int:
        wrong = 0
        for trial in trials(options.python, options.wheels, broken, small):
            if options.only and trial.name not in options.only:
                continue
            with tempfile.TemporaryDirectory() as folder:
                ended, seconds, since, left = attempt(trial, options.builder, Path(folder))
            kept = ["environment", "uv"] if trial.wanted == "done" else ["uv"]
            right = ended == trial.wanted and set(left) <= set(kept)
            wrong += not right
            after = f", {since:.1f} s after it was given up" if since else ""
            verdict = "ok   " if right else "WRONG"
            print(f"{verdict} {trial.name}: {ended}, {seconds:.0f} s{after}, left: {left}", flush=True)
        return wrong

    return with_folders(options.wheels, use)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
