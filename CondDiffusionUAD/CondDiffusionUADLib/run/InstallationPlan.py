"""What an installation downloads and how large that is, from the lock file that uv resolved. Standard library only."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
