"""What an installation is asked to do, what it downloads and how large that is. Standard library only."""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from CondDiffusionUADLib.run.Uv import Commands

_UNPACKED, _UNPACKED_GPU = 4.0, 1.8  # measured: a wheel of a library, and one of code for graphics cards, grow so much
_GPU = ("nvidia", "cuda", "triton")  # begin the names of packages and of their wheels
_UNKNOWN = 300_000_000  # bytes of a package whose size nobody tells; of those only PyTorch is large
_HEAD_S = 5.0


@dataclass(frozen=True)
class Plan:
    """Bytes of each package's wheel.

    Attributes:
        downloads: Of the packages that come from a registry.
        local: Of those that lie on this computer.
    """

    downloads: Mapping[str, int]
    local: Mapping[str, int]

    @property
    def download(self) -> int:
        """Bytes to download."""
        return sum(self.downloads.values())

    @property
    def disk(self) -> int:
        """Bytes that the environment will take of the disk, about."""
        return round(
            sum(
                size * (_UNPACKED_GPU if name.startswith(_GPU) else _UNPACKED)
                for sizes in (self.downloads, self.local)
                for name, size in sizes.items()
            )
        )


def readPlan(lock: Path) -> Plan:
    """The plan in a lock file (pylock.toml). Raises OSError, ValueError, KeyError for one that is none."""
    import tomllib

    downloads: dict[str, int] = {}
    local: dict[str, int] = {}
    for package in tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]:
        wheels = package.get("wheels") or [package["archive"]]
        wheel = wheels[0]
        url = urllib.parse.urlsplit(str(wheel.get("url", "")))
        path = Path(str(wheel.get("path", ""))) if "path" in wheel else None
        if url.scheme == "file":
            path = Path(urllib.request.url2pathname(url.path))
        if path is not None:
            path = path if path.is_absolute() else lock.parent / path
            local[package["name"]] = path.stat().st_size
        else:
            downloads[package["name"]] = int(wheel.get("size") or _asked(url.geturl()))
    return Plan(downloads, local)


class Progress:
    """How far uv is with the downloads, from the lines that it says and from how its folder grows.

    Args:
        plan: What there is to download.
        grown: Tells how many bytes lie in uv's folder by now.
    """

    def __init__(self, plan: Plan, grown: Callable[[], int]) -> None:
        self._plan = plan
        self._grown = grown
        self._under_way: set[str] = set()
        self._here: set[str] = set()
        self._done = 0

    def hear(self, line: str) -> int:
        """Take a line; returns the bytes that are downloaded by now, about. They never fall."""
        word, _, rest = line.strip().partition(" ")
        name = rest.partition(" ")[0]
        if word == "Downloading":
            self._under_way.add(name)
        elif word == "Downloaded":
            self._here.add(name)
        elif word == "Prepared":
            self._here.update(self._plan.downloads)
        sizes = self._plan.downloads
        here = sum(sizes.get(name, 0) for name in self._here)
        if not line:  # silent for a while: something large is on its way
            possible = here + sum(sizes.get(name, 0) for name in self._under_way - self._here)
            local = _UNPACKED * sum(self._plan.local.values())
            here = max(here, min(possible, round((self._grown() - local) / _UNPACKED)))
        self._done = max(self._done, min(here, self._plan.download))
        return self._done


def _asked(url: str) -> int:
    """The size of a file as its server tells it."""
    if urllib.parse.urlsplit(url).scheme != "https":
        return _UNKNOWN
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_HEAD_S) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError, urllib.error.URLError):
        return _UNKNOWN


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        environment: The folder that it is to become.
        requirements: What the engine needs.
        module: The folder to put on the path for the engine.
        scan: To try the environment with.
        started: The variables that Slicer was started with.
        expected: Bytes that the user has agreed to download.
        wheels: A folder of wheels; empty for the registry.
        python: A Python to build with; empty to choose.
        replaces: When the environment that is to be replaced was made; 0 when there is none.
        existing: A Python to try instead of building anything; empty to build.
        sweep: Only remove what broken-off installations left.
        test: What tries an environment.
    """

    environment: str
    requirements: str
    module: str
    scan: str
    started: Mapping[str, str]
    expected: int = 0
    wheels: str = ""
    python: str = ""
    replaces: float = 0.0
    existing: str = ""
    sweep: bool = False
    test: str = str(Path(__file__).with_name("EnvironmentTest.py"))


class Console:
    """Talks with Slicer."""

    def __init__(self) -> None:
        self.commands = Commands(self.log)
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def order(self) -> Order:
        """The order; then listen for more. Raises ValueError for one that cannot be understood."""
        told = json.loads(sys.stdin.readline())
        order = Order(**{field.name: told[field.name] for field in fields(Order) if field.name in told})
        threading.Thread(target=self._listen, daemon=True).start()
        return order

    def tell(self, event: str, **more: Any) -> None:
        """Send an event."""
        with contextlib.suppress(OSError):  # nobody listens any more
            print(json.dumps({"event": event, **more}), flush=True)

    def log(self, line: str) -> None:
        """A line for the log."""
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)

    def agrees(self, plan: Plan) -> bool:
        """Ask the user. Raises CanceledError."""
        self.tell("question", download=plan.download, disk=plan.disk)
        while True:
            self.commands.check()
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=0.2)

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "cancel":
                break
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._answers.put(bool(json.loads(line)["answer"]))
        self.commands.giveUp()
