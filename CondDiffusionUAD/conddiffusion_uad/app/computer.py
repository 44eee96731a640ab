"""How much memory and disk this computer has. Standard library only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


@dataclass(frozen=True)
class Memory:
    """Of the computer, or of the container that this process is confined to.

    Attributes:
        total: MB in all.
        available: MB that programs can get without pushing others out.
    """

    total: float
    available: float


def memory() -> Memory | None:
    """The memory of this computer; None where the system does not tell."""
    with suppress(OSError, KeyError, ValueError, AttributeError, IndexError, subprocess.SubprocessError):
        if sys.platform == "linux":
            system = from_meminfo(Path("/proc/meminfo").read_text(encoding="ascii"))
            return within_cgroup(system, _CGROUP)
        if sys.platform == "darwin":
            told = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, check=True, timeout=5).stdout
            return from_vm_stat(told, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        if sys.platform == "win32":
            return _of_windows()
    return None


def own_memory_mb() -> float | None:
    """MB of memory that this process holds; None where the system does not tell."""
    with suppress(OSError, ValueError, AttributeError, IndexError, subprocess.SubprocessError):
        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        if sys.platform == "darwin":
            asked = ["/bin/ps", "-o", "rss=", "-p", str(os.getpid())]
            return int(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout) * 1024 / 1e6
        if sys.platform == "win32":
            return _working_set_of_windows()
    return None


def free_disk_mb(folder: Path) -> float | None:
    """MB that can still be written where a folder is or will be; None when the system does not tell."""
    absolute = Path(os.path.abspath(folder))
    for path in (absolute, *absolute.parents):
        if path.exists():
            try:
                return shutil.disk_usage(path).free / 1e6
            except OSError:
                return None
    return None


def from_meminfo(text: str) -> Memory:
    """What Linux tells in /proc/meminfo. Raises KeyError."""
    kib = {name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return Memory(kib["MemTotal"] * 1024 / 1e6, kib["MemAvailable"] * 1024 / 1e6)


def within_cgroup(system: Memory, folder: Path) -> Memory:
    """The memory that is left to a container, of which its control group (version 2 or 1) tells limit and use."""
    for limit_file, used_file in _CGROUP_FILES:
        try:
            limit, used = (int((folder / name).read_text(encoding="ascii")) / 1e6 for name in (limit_file, used_file))
        except (OSError, ValueError):  # not there, or "max": no limit
            continue
        return Memory(min(system.total, limit), max(0.0, min(system.available, limit - used)))
    return system


def from_vm_stat(text: str, total: float) -> Memory:
    """What macOS tells by `vm_stat`; `total` in bytes. Raises IndexError and KeyError."""
    page = int(re.findall(r"page size of (\d+) bytes", text)[0])
    pages = {name: int(number) for name, number in re.findall(r"^(Pages [\w ]+):\s+(\d+)\.", text, re.MULTILINE)}
    usable = pages["Pages free"] + pages["Pages inactive"] + pages.get("Pages speculative", 0)
    return Memory(total / 1e6, usable * page / 1e6)


def _of_windows() -> Memory:
    """What GlobalMemoryStatusEx tells."""
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *[(name, ctypes.c_ulonglong) for name in ("total", "available", "a", "b", "c", "d", "e")],
        ]

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
        raise OSError("GlobalMemoryStatusEx failed")
    return Memory(status.total / 1e6, status.available / 1e6)


def _working_set_of_windows() -> float:
    """What GetProcessMemoryInfo tells of this process, MB."""
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("faults", ctypes.c_ulong),
            *[(name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "e", "f")],
        ]

    counters = Counters(length=ctypes.sizeof(Counters))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.length):
        raise OSError("K32GetProcessMemoryInfo failed")
    return counters.now / 1e6
