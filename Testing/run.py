#!/usr/bin/env python3
"""Sets up the project and runs it, with nothing but Python (3.10 to 3.13) on the machine:

    python3 Testing/run.py demo     detect anomalies in the sample scan, show the result in a scene
    python3 Testing/run.py test     run the tests; further arguments go to pytest: test -k geometry, test -n 0 --pdb
    python3 Testing/run.py audit    look up known vulnerabilities of the dependencies
    python3 Testing/run.py setup    only make the virtual environment .venv and install into it

A second call is quick: the set-up is done again only when its requirements, Python or the place of the project changed.
"""

# Standard library only; must also be understood by old Pythons, so that they can say that they are too old.
from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)
ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "conddiffusion-uad-setup.txt"
REQUIREMENTS = ROOT / "Testing" / "requirements.txt"
CONSTRAINTS = ROOT / "Testing" / "constraints.txt"
MOST_PROCESSES = 4  # that test at once: each holds about 1.5 GB
INPUTS = (ROOT / "pyproject.toml", ROOT / "Resources" / "requirements.txt", REQUIREMENTS, CONSTRAINTS)


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    """Tell what is being done."""
    print("==> " + text, flush=True)


def environment_python() -> Path:
    """The Python inside the virtual environment."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_version(python: Path) -> tuple[int, ...] | None:
    """Major and minor version of a Python; None when it does not run."""
    script = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([str(python), "-c", script], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return tuple(map(int, done.stdout.split()))


def check_version(version: tuple[int, ...], what: str) -> None:
    """Raise SetupError unless the version is one that the project supports."""
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        accepted = "{}.{} to {}.{}".format(*OLDEST, *NEWEST)
        raise SetupError(f"{what} is Python {version[0]}.{version[1]}, but CondDiffusionUAD needs Python {accepted}.")


def fingerprint() -> str:
    """Changes when the set-up has to be done again."""
    digest = hashlib.sha256(f"{ROOT}\n{python_version(environment_python())}\n".encode())
    for path in INPUTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(*command: str | Path) -> int:
    """Run a command from the root of the project; returns its exit status."""
    return subprocess.call([str(part) for part in command], cwd=str(ROOT))


def pip_install(*arguments: str | Path) -> None:
    """Install into the virtual environment. Raises SetupError."""
    if run(environment_python(), "-m", "pip", "install", "--disable-pip-version-check", *arguments):
        raise SetupError("pip could not install the packages, see above. Is there a connection to the internet?")


def make_environment() -> None:
    """Make the virtual environment, unless there is one that works. Raises SetupError."""
    version = python_version(environment_python())
    if version is None:
        say(f"Making a virtual environment in {ENVIRONMENT}")
        if run(sys.executable, "-m", "venv", "--clear", ENVIRONMENT):
            raise SetupError(
                "Python could not make a virtual environment; on Debian and Ubuntu install the package python3-venv."
            )
        version = sys.version_info[:2]
    check_version(version, f"The virtual environment {ENVIRONMENT}")


def setup() -> None:
    """Make the virtual environment and install into it, unless that has been done. Raises SetupError."""
    make_environment()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == fingerprint():
        say(f"Already set up: {ENVIRONMENT}")
        return
    say("Installing what the project needs; the first time takes some minutes")
    if sys.platform == "linux" and not shutil.which("nvidia-smi"):
        print("    (No NVIDIA GPU? PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU builds saves 2 GB of download.)")
    pip_install("--constraint", CONSTRAINTS, "--requirement", REQUIREMENTS)
    say("Installing the project itself (editable)")
    pip_install("--no-deps", "--no-build-isolation", "--editable", ROOT)
    STAMP.write_text(fingerprint(), encoding="utf-8")


def test(arguments: list[str]) -> int:
    """Check the style and the types, then run the tests."""
    say("Checking the style (ruff)")
    style = run(environment_python(), "-m", "ruff", "check", ROOT)
    say("Checking the types (mypy)")
    types = run(environment_python(), "-m", "mypy")
    say("Running the tests (pytest)")
    os.environ.setdefault("MALLOC_PERTURB_", "165")  # glibc: what is used after it was freed shows
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core already
    processes = min(os.cpu_count() or 1, MOST_PROCESSES)
    several = ("-n", str(processes), "--dist", "loadfile") if processes > 1 else ()
    return run(environment_python(), "-m", "pytest", "--durations=15", *several, *arguments) or style or types


def audit() -> int:
    """Look up known vulnerabilities of the oldest accepted versions."""
    say("Looking up known vulnerabilities of the dependencies (pip-audit)")
    return run(environment_python(), ROOT / "Testing" / "audit.py")


def demo(arguments: list[str]) -> int:
    """Run the main job on the sample scan and show the result."""
    os.environ["PYTHONPATH"] = str(ROOT / "Testing" / "helpers")
    return run(environment_python(), ROOT / "Testing" / "demo.py", *arguments)


def main() -> int:
    """Parse the command line and do what it says; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("setup", "test", "demo", "audit"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to pytest or to the demo")
    options = parser.parse_args()
    try:
        check_version(sys.version_info[:2], sys.executable)
        setup()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "audit":
        return audit()
    if options.command == "test":
        return test(options.arguments)
    return demo(options.arguments) if options.command == "demo" else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
