"""Runs uv, the installer of Python environments, in the process that builds one. Standard library only.

uv comes as one wheel through pip and is unpacked into our own folder, never into Slicer's packages. What the system
tells pip (proxy, certificates, index, folder of wheels) is told to uv too, which does not look there by itself.
"""

from __future__ import annotations

import ast
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

VERSIONS = "uv>=0.9,<0.14"
"""The versions of uv that are known to understand what they are asked here."""

_LOOK_S = 0.5  # how often a command that says nothing is looked after
_SENTENCE = 400  # characters
_LONGEST = 200_000  # characters of what a command says that are kept
_PROGRAM = "uv.exe" if os.name == "nt" else "uv"
# What pip is told, and what uv calls it.
_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
_LISTS = ("UV_INDEX", "UV_FIND_LINKS", "UV_CONSTRAINT", "UV_INSECURE_HOST")  # take several values
_SECTIONS = ("global", "install", ":env:")  # those of pip's configuration that an installation obeys; the last one wins
_REASONS = (
    ("disk_full", r"No space left|not enough space|os error 28\b|os error 112\b|Disk quota"),
    ("download_broken", r"[Hh]ash mismatch|do not match the hashes|[Cc]orrupt|[Uu]nexpected (end|EOF)|invalid Zip"
     r"|bad zip|IncompleteRead|HashMismatch|Failed to extract|THESE PACKAGES DO NOT MATCH"),
    ("no_network", r"dns error|[Rr]esolving DNS|name resolution|error sending request|[Cc]onnection|client error"
     r"|[Cc]onnect(ed)? (error|timeout|to)|ConnectTimeout|timed out|[Nn]etwork is unreachable|certificate verify"
     r"|invalid peer certificate|[Tt]unnel|Failed to fetch|status .{0,30}(407|50[234])\b"),
    ("cannot_write", r"Permission denied|Access is denied|Read-only file system|os error (5|13|30)\b"),
    ("no_wheels", r"No solution found|No matching distribution|no wheels|not found in the"),
)  # fmt: skip


class CanceledError(Exception):
    """The user gave up."""


class CommandError(Exception):
    """A command ended with an error.

    Args:
        said: What it said.

    Attributes:
        code: Why, as far as that can be told: the name of a problem, or "install_failed".
        line: The line that says it best.
    """

    def __init__(self, said: str) -> None:
        self.code = next((code for code, words in _REASONS if re.search(words, said)), "install_failed")
        self.line = _telling(said)
        super().__init__(self.line)


def _telling(said: str) -> str:
    """The sentence in what a command said that tells most: its error with the first cause, or else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [n for n, line in enumerate(lines) if re.match(r"\W*(error:|ERROR:|\w*Error\b|No solution)", line)]
    told = lines[errors[0] : errors[0] + 2] if errors else lines[-1:]
    words = (re.sub(r"^\W*(error:|ERROR:|cause:)?", "", line).strip(" :.") for line in told)
    return ": ".join(words)[:_SENTENCE] or "it said nothing"


class Commands:
    """Runs commands that can be given up.

    Args:
        log: Receives each line that they say.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._given_up = threading.Event()

    def giveUp(self) -> None:
        """End the command that is running, and run no other; from any thread."""
        self._given_up.set()

    def check(self) -> None:
        """Raise CanceledError when it was given up."""
        if self._given_up.is_set():
            raise CanceledError

    def run(
        self,
        command: Sequence[str | Path],
        folder: Path,
        variables: Mapping[str, str],
        tell: Callable[[str], None] = lambda line: None,
        quiet: bool = False,
    ) -> str:
        """Run a command to its end.

        Args:
            command: Program and arguments.
            folder: Where it runs.
            variables: All of its environment.
            tell: Receives each line too, and an empty one whenever it was silent for a while.
            quiet: Do not log what it says.

        Returns:
            What it said on both of its outputs.

        Raises:
            CommandError: It could not be started, or ended with an error.
            CanceledError: It was given up.
        """
        self.check()
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise CommandError(f"error: {error}") from error
        said: list[str] = []
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        try:
            while (line := self._next(lines)) is not None:
                tell(line)
                if line:
                    said.append(line)
                    if not quiet:
                        self._log(line)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        text = "\n".join(said)[-_LONGEST:]
        if process.returncode:
            raise CommandError(text)
        return text

    def _next(self, lines: queue.SimpleQueue[str | None]) -> str | None:
        """The next line; empty after a while without any; None at the end. Raises CanceledError."""
        try:
            line = lines.get(timeout=_LOOK_S)
        except queue.Empty:
            line = ""
        self.check()
        return line


def fetchUv(
    commands: Commands, folder: Path, work: Path, wheels: Path | None, named: str, variables: Mapping[str, str]
) -> Path:
    """uv's program: the one that was named, the one that is there and runs, or a new one through pip.

    Args:
        commands: Run it.
        folder: Keeps it.
        work: For temporary files; on the file system of `folder`.
        wheels: A folder of wheels to take it from; None for the registry.
        named: A program that the system has; empty for none.
        variables: Environment of uv.

    Raises:
        CommandError, CanceledError, OSError: There is none.
    """
    program = Path(named) if named else folder / "uv" / _PROGRAM
    if named or program.is_file():
        try:
            commands.run([program, "--version"], work, variables)
            return program
        except (CommandError, OSError):
            if named:
                raise
    arguments = ["--no-index", "--find-links", str(wheels)] if wheels else ["--retries", "1"]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--quiet"]
    commands.run([*pip, *arguments, *_platform(), "--dest", work, VERSIONS], work, os.environ)
    (wheel,) = work.glob("uv-*.whl")
    _unpack(wheel, work / "uv")
    commands.run([work / "uv" / _PROGRAM, "--version"], work, variables)
    shutil.rmtree(program.parent, ignore_errors=True)
    (work / "uv").rename(program.parent)
    return program


def uvVariables(started: Mapping[str, str], pip: str, cache: Path, pythons: Path) -> dict[str, str]:
    """The environment of uv.

    Args:
        started: That which Slicer was started with.
        pip: What "pip config list" says.
        cache: Where uv keeps what it downloads.
        pythons: Where uv puts the Pythons that it fetches.
    """
    ours = ("PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV")
    variables = {name: value for name, value in started.items() if not name.upper().startswith(ours)}
    for name, value in _fromPip(pip).items():
        if name not in started:
            # As pip does: every index is asked for every package.
            if name == "UV_INDEX":
                variables.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
            between = "," if name == "UV_FIND_LINKS" else " "
            variables[name] = between.join(value.split()) if name in _LISTS else value
    variables.setdefault("UV_SYSTEM_CERTS", "true")
    variables.setdefault("UV_NATIVE_TLS", "true")
    more = {"UV_CACHE_DIR": cache, "UV_PYTHON_INSTALL_DIR": pythons, "UV_PYTHON_INSTALL_BIN": 0, "NO_COLOR": 1}
    return {**variables, **{name: str(value) for name, value in more.items()}}


def _fromPip(listed: str) -> dict[str, str]:
    """What pip's configuration says to an installation, by uv's names, from what "pip config list" says."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.strip().rpartition(".")
        told = _written(value.strip())
        if section in found and option in _PIP and told:  # what is empty counts as not there
            found[section][_PIP[option]] = told
    return {name: told for section in found.values() for name, told in section.items()}


def _written(value: str) -> str:
    """A value as it was written: pip lists it as Python writes a text, with its line ends and backslashes escaped."""
    try:
        return str(ast.literal_eval(value)).strip()
    except (ValueError, SyntaxError):
        return value.strip("'\"")


def isAppleSilicon() -> bool:
    """Whether this Mac has an Apple processor, also when this program was built for Intel's."""
    if sys.platform != "darwin":
        return False
    asked = subprocess.run(["/usr/sbin/sysctl", "-n", "hw.optional.arm64"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() == "1"


def _platform() -> list[str]:
    """On a Mac with an Apple processor, Slicer's Python is one for Intel's: pip would only take that build of uv.

    It is good enough where there is no other, as in a folder of wheels that Slicer's Python filled.
    """
    return ["--platform", "macosx_11_0_arm64", "--platform", "macosx_11_0_x86_64"] if isAppleSilicon() else []


def _unpack(wheel: Path, folder: Path) -> None:
    """Take the program out of its wheel. Raises CommandError when it is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(f".data/scripts/{_PROGRAM}"))
            folder.mkdir()
            with archive.open(name) as source, (folder / _PROGRAM).open("wb") as target:
                shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise CommandError(f"error: {wheel.name} is corrupt: {error}") from error
    (folder / _PROGRAM).chmod(0o755)


def _pump(stream: object, lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:  # type: ignore[attr-defined]
        lines.put(line.rstrip())
    lines.put(None)
