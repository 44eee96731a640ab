"""What the systems tell about memory and disk, read from samples of their words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conddiffusion_uad.app import computer
from conddiffusion_uad.app.computer import Memory

MEMINFO = "MemTotal:       16000000 kB\nMemFree:          500000 kB\nMemAvailable:    4000000 kB\nSwapTotal: 0 kB\n"
VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            200000.
Pages inactive:                           30000.
Pages speculative:                         5000.
Pages wired down:                         90000.
"""


def test_linux() -> None:
    assert computer.from_meminfo(MEMINFO) == Memory(16384.0, 4096.0)


@pytest.mark.parametrize("version", [0, 1])
def test_a_container_has_what_its_limit_leaves(version: int, tmp_path: Path) -> None:
    system = Memory(16384.0, 4096.0)
    assert computer.within_cgroup(system, tmp_path) == system
    limit, used = (tmp_path / name for name in computer._CGROUP_FILES[version])
    limit.parent.mkdir(exist_ok=True)
    limit.write_text("2000000000\n")
    used.write_text("500000000\n")
    assert computer.within_cgroup(system, tmp_path) == Memory(2000.0, 1500.0)
    used.write_text("2500000000\n")
    assert computer.within_cgroup(system, tmp_path).available == 0
    limit.write_text("max\n")
    assert computer.within_cgroup(system, tmp_path) == system


def test_macos() -> None:
    assert computer.from_vm_stat(VM_STAT, 16e9) == Memory(16000.0, 45000 * 16384 / 1e6)


@pytest.mark.skipif(sys.platform not in ("linux", "darwin", "win32"), reason="another system may not tell")
def test_this_computer_tells() -> None:
    memory = computer.memory()
    assert memory is not None and 0 < memory.available <= memory.total


def test_a_system_that_tells_something_else_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *arguments, **options: "nothing")
    monkeypatch.setattr(computer, "sys", type("System", (), {"platform": "linux"}))
    assert computer.memory() is None


def test_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    free = computer.free_disk_mb(tmp_path / "new" / "deep")
    assert free is not None and free == pytest.approx(computer.free_disk_mb(tmp_path), rel=0.1)
