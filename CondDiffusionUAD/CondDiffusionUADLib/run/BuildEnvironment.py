"""The process that builds the engine's environment: ``python BuildEnvironment.py``, started by `Installer`.

Its order is the first line of standard input, JSON; its events are lines of standard output, what commands say goes to
standard error. "cancel" on a line, or the end of standard input, ends it: nothing is left then but what was there.

    {"event": "step", "name": "...", "done": bytes, "total": bytes}
    {"event": "question", "download": bytes, "disk": bytes}      answered by {"answer": true} or false
    {"event": "settled"}                                         too late to cancel: "done" follows, or an error
    {"event": "error", "code": "...", "message": "what a program said"}
    {"event": "done", "environment": "folder"}

The last two tell what is from then on. Downloads and what is not needed any more are removed after them.

Standard library only: it runs in Slicer's Python, without Slicer.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conddiffusion_uad.protocol.folder_lock import LockedError, acquire
from CondDiffusionUADLib.run import Environment
from CondDiffusionUADLib.run.BuildError import FOR_ALL, NO_FETCH, BuildError, FetchError, whyNone
from CondDiffusionUADLib.run.Environment import Record
from CondDiffusionUADLib.run.InstallationPlan import Console, Order, Plan, Progress, readPlan
from CondDiffusionUADLib.run.PythonCandidates import Candidate, candidates
from CondDiffusionUADLib.run.Uv import CanceledError, CommandError, Commands, fetchUv, isAppleSilicon, uvVariables

NOT_NEEDED = ("connected-components-3d", "customtkinter", "fill-voids", "pandas", "tqdm")
"""What deepbet asks for around its networks; the engine loads nothing of it but their weights."""

BOUNDS = ("numpy<2 ; sys_platform == 'darwin' and platform_machine == 'x86_64'",)
"""What packages do not say: the last PyTorch for Intel's Macs, 2.2, was built for numpy 1."""

LEAST_ROOM = 500_000_000  # bytes, to begin at all
_MARGIN = 500_000_000  # bytes that have to stay free
_MORE_THAN_SAID = 1.3  # from this on, the user is asked again
_DECIDED = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_TORCH_BACKEND")


class Builder:
    """Builds one environment.

    Args:
        order: What is to be done.
        console: Told how it goes.
        afterwards: Keeps the folder locked, and tidies it up when it is closed.
    """

    def __init__(self, order: Order, console: Console, afterwards: contextlib.ExitStack) -> None:
        self._afterwards = afterwards
        self._order, self._console, self._commands = order, console, console.commands
        self._target = Path(order.environment)
        self._folder = self._target.parent
        self._building = Environment.buildingFolder(self._target)
        self._work = self._folder / f".work-{os.getpid()}"
        self._cache = self._folder / f".cache-{os.getpid()}"
        self._variables: dict[str, str] = {}
        self._uv: Path | None = None

    def build(self) -> Path:
        """Build it, unless another Slicer just did. Raises BuildError, CommandError, CanceledError, OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock()
        there = Environment.readRecord(self._target)
        if there is not None and there.made != self._order.replaces:
            return self._target
        Environment.sweep(self._folder)
        self._needRoom(LEAST_ROOM)
        self._afterwards.callback(Environment.sweep, self._folder)
        self._work.mkdir()
        self._makeOne()
        return self._target

    def _makeOne(self) -> None:
        """Make an environment with the first Python that will do, and put it in place."""
        order = self._order
        self._console.tell("step", name="uv")
        pip = self._commands.run([sys.executable, "-m", "pip", "config", "list"], self._work, os.environ, quiet=True)
        self._variables = uvVariables(order.started, pip, self._cache, self._folder / "python")
        wheels = Path(order.wheels) if order.wheels else None
        if wheels is not None:  # uv unpacks them as it resolves
            sizes = {wheel.name: wheel.stat().st_size for wheel in wheels.glob("*.whl")}
            self._needRoom(Plan({}, sizes).disk + _MARGIN)
        named = order.started.get("UV", "")
        self._uv = fetchUv(self._commands, self._folder, self._work, wheels, named, self._variables)
        refused: list[tuple[str, str]] = []
        codes: set[str] = set()
        for candidate in self._pythons():
            try:
                record = self._make(candidate)
            except (CommandError, BuildError) as error:
                if error.code in FOR_ALL and not isinstance(error, FetchError):
                    raise
                refused.append((candidate.name, str(error)))
                codes.add(error.code)
                self._console.log(f"Not taken: {candidate.name}: {error}")
                continue
            Environment.writeRecord(self._building, replace(record, refused=tuple(refused)))
            self._commands.check()
            self._console.tell("settled")
            Environment.putInPlace(self._building, self._target)
            return
        raise whyNone(refused, codes)

    def _pythons(self) -> Iterator[Candidate]:
        """The Pythons to try; with a folder of wheels nothing is downloaded, and so no Python either."""
        for candidate in candidates(self._order.python, self._installedPythons, isAppleSilicon()):
            if not candidate.fetched or not self._order.wheels:
                yield candidate

    def _make(self, candidate: Candidate) -> Record:
        """Make an environment with this Python. Raises BuildError, CommandError, CanceledError, OSError."""
        self._console.log(f"Trying {candidate.name}")
        self._console.tell("step", name="fetch_python" if candidate.fetched else "python")
        shutil.rmtree(self._building, ignore_errors=True)
        variables = {**self._variables, **dict(candidate.variables)}
        self._makeEmpty(candidate, variables)
        lock = self._resolve(variables)
        plan = readPlan(lock)
        self._needRoom(plan.disk + _MARGIN)
        if plan.download > self._order.expected * _MORE_THAN_SAID and not self._console.agrees(plan):
            raise BuildError("declined")
        self._download(lock, plan, variables)
        self._console.tell("step", name="try")
        python = Environment.pythonIn(self._building)
        found = tryEnvironment(self._commands, python, self._order, candidate.variables, self._work)
        megabytes = round(Environment.size(self._building) / 1e6)
        return replace(found, taken=candidate.name, megabytes=megabytes, variables=candidate.variables)

    def _makeEmpty(self, candidate: Candidate, variables: Mapping[str, str]) -> None:
        """Make an environment without packages. Raises FetchError, CommandError, CanceledError."""
        fetching = ("--managed-python",) if candidate.fetched else ("--no-python-downloads",)
        made = ("venv", "--relocatable", "--python", candidate.request, *fetching, self._building)
        try:
            self._runUv(*made, more=variables)
        except CommandError as error:
            if candidate.fetched and error.code in NO_FETCH:
                raise FetchError(error.code, error.line) from error
            raise

    def _resolve(self, variables: Mapping[str, str]) -> Path:
        """Decide which packages to take; from PyTorch's own index for this computer, if that can be reached."""
        self._console.tell("step", name="resolve")
        excluded, bounds = self._work / "excluded.txt", self._work / "bounds.txt"
        excluded.write_text("\n".join(NOT_NEEDED), encoding="utf-8")
        bounds.write_text("\n".join(BOUNDS), encoding="utf-8")
        lock = self._work / "pylock.engine.toml"
        common = ("pip", "compile", self._order.requirements, "--excludes", excluded, "--only-binary", ":all:")
        for constraints in (bounds, *variables.get("UV_CONSTRAINT", "").split()):
            common += ("--constraints", constraints)
        common += ("--python", Environment.pythonIn(self._building), "--quiet")
        common += ("--format", "pylock.toml", "--output-file", lock)
        if self._order.wheels:
            self._runUv(*common, "--no-index", "--find-links", self._order.wheels, more=variables)
            return lock
        try:
            quick = {"UV_HTTP_RETRIES": "1", **variables}
            self._runUv(*common, "--torch-backend", variables.get("UV_TORCH_BACKEND", "auto"), more=quick)
        except CommandError as error:
            if error.code == "disk_full":
                raise
            self._console.log("PyTorch's own index cannot be used; the main registry's build is looked for.")
            self._runUv(*common, more={name: value for name, value in variables.items() if name != "UV_TORCH_BACKEND"})
        return lock

    def _download(self, lock: Path, plan: Plan, variables: Mapping[str, str]) -> None:
        progress = Progress(plan, lambda: Environment.size(self._cache))
        self._console.tell("step", name="download", done=0, total=plan.download)

        told = [0]

        def tell(line: str) -> None:
            done = progress.hear(line)
            if done > told[0]:
                told[0] = done
                self._console.tell("step", name="download", done=done, total=plan.download)

        offline = ("--offline",) if self._order.wheels else ()
        python = Environment.pythonIn(self._building)
        # What the lock file has decided, uv refuses to be told again.
        variables = {name: value for name, value in variables.items() if name not in _DECIDED}
        arguments = ("pip", "install", "--no-deps", "--requirements", lock, "--python", python, *offline)
        self._runUv(*arguments, more=variables, tell=tell)

    def _installedPythons(self) -> str:
        arguments = ("python", "list", "--only-installed", "--output-format", "json", "--quiet")
        try:
            return self._runUv(*arguments, more=self._variables, quiet=True)
        except CommandError:
            return ""

    def _runUv(self, *arguments: str | Path, more: Mapping[str, str], **options: Any) -> str:
        assert self._uv is not None
        return self._commands.run([self._uv, *arguments], self._work, more, **options)

    def _needRoom(self, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise BuildError("no_room", f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free.")

    def _lock(self) -> None:
        """Hold the lock of the folder; another process that builds or tidies is waited for. Raises CanceledError."""
        waiting = False
        while True:
            try:
                held = acquire(self._folder)
                break
            except LockedError:
                if not waiting:
                    self._console.tell("step", name="wait")
                waiting = True
                self._commands.check()
                time.sleep(0.2)
        if held is not None:
            self._afterwards.callback(os.close, held)


def sweep(folder: Path) -> None:
    """Remove what broken-off installations left, unless one is under way. Raises OSError."""
    with contextlib.suppress(LockedError):
        held = acquire(folder)
        Environment.sweep(folder)
        if held is not None:
            os.close(held)


def tryEnvironment(
    commands: Commands, python: Path, order: Order, variables: tuple[tuple[str, str], ...], folder: Path
) -> Record:
    """Try an environment from inside. Raises BuildError when the engine cannot run in it, CanceledError."""
    started = {name: value for name, value in order.started.items() if not name.upper().startswith("PYTHON")}
    own = {"PYTHONPATH": order.module, "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        said = commands.run([python, order.test, order.scan], folder, {**started, **own, **dict(variables)}, quiet=True)
        found = json.loads(said.splitlines()[-1])
        return Record(
            python=str(found["python"]),
            torch=str(found["torch"]),
            taken=str(python),
            packages=tuple((str(name), str(version)) for name, version in found["packages"]),
        )
    except CommandError as error:
        raise BuildError("unusable", error.line) from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BuildError("unusable", f"it says what is not understood ({error})") from error


def main() -> int:
    """Do what the order says; returns the exit status."""
    with contextlib.ExitStack() as afterwards:
        return _work(Console(), afterwards)


def _work(console: Console, afterwards: contextlib.ExitStack) -> int:
    try:
        order = console.order()
        if order.existing:
            record = tryEnvironment(console.commands, Path(order.existing), order, (), Path.cwd())
            console.tell("done", environment=order.existing, record=vars(record))
        elif order.sweep:
            sweep(Path(order.environment).parent)
            console.tell("done", environment="")
        else:
            console.tell("done", environment=str(Builder(order, console, afterwards).build()))
    except CanceledError:
        console.tell("error", code="cancelled", message="")
    except (CommandError, BuildError) as error:
        console.tell("error", code=error.code, message=getattr(error, "line", str(error)))
    except OSError as error:
        code = CommandError(str(error)).code
        console.tell("error", code=code if code != "install_failed" else "cannot_write", message=str(error))
    except (ValueError, KeyError) as error:
        console.tell("error", code="install_failed", message=str(error))
    else:
        return 0
    return 1


if __name__ == "__main__":
    # What a thread reads or a killed command still says must not keep the process.
    status = main()
    sys.stdout.flush()
    os._exit(status)
