"""The look-up of vulnerabilities: what it asks, and that it never takes "not known" for "none"."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import audit
import pytest

CLEAN = {"dependencies": [{"name": "numpy", "version": "1.26", "vulns": []}]}
FLAWED = {
    "dependencies": [
        {"name": "pillow", "version": "10.1", "vulns": [{"id": "CVE-2023-50447", "fix_versions": ["10.2.0"]}]},
        {"name": "torch", "version": "2.2", "vulns": [{"id": "CVE-2025-32434", "fix_versions": ["2.6.0"]}]},
    ]
}
UNKNOWN = {"dependencies": [{"name": "numpy", "skip_reason": "Dependency not found on PyPI"}]}


def test_the_oldest_accepted_versions_are_asked_for() -> None:
    text = '# a comment\nnumpy>=1.26\ntomli>=2; python_version < "3.11"\n-r other.txt\n\n'
    assert audit.floors(text) == ["numpy==1.26", "tomli==2"]
    real = audit.floors(audit.REQUIREMENTS.read_text(encoding="utf-8"))
    assert len(real) >= 10 and all(pin.count("==") == 1 for pin in real)


def test_a_vulnerability_fails_unless_it_is_accepted_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "look_up", lambda pins: FLAWED)
    assert audit.main() == 1
    assert "pillow 10.1: CVE-2023-50447, fixed in 10.2.0. Raise the floor." in capsys.readouterr().out
    monkeypatch.setattr(audit, "ACCEPTED", {"torch": "A reason.", "pillow": "Another."})
    assert audit.main() == 0


def test_no_vulnerability(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(audit, "look_up", lambda pins: CLEAN)
    assert audit.main() == 0
    assert "SKIPPED" not in capsys.readouterr().out


@pytest.mark.parametrize("told", [UNKNOWN, {"dependencies": []}])
def test_what_was_not_checked_is_said_loudly(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "look_up", lambda pins: told)
    assert audit.main() == 0
    assert "!!! SKIPPED" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["", "no connection"])
def test_a_tool_that_fails_or_hangs_is_said_loudly(
    answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if not answer:
            raise subprocess.TimeoutExpired(command, 1)
        return subprocess.CompletedProcess(command, 1, stdout="", stderr=f"Traceback\n{answer}\n")

    monkeypatch.setattr(audit, "tool", lambda: Path("python"))
    monkeypatch.setattr(subprocess, "run", failing)
    assert audit.main() == 0
    assert "!!! SKIPPED" in capsys.readouterr().out


def test_a_tool_that_cannot_be_installed_is_said_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def failing(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(audit.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", failing)
    assert audit.main() == 0
    assert (
        "!!! SKIPPED: the dependencies were not checked for known vulnerabilities: pip-audit cannot"
        in capsys.readouterr().out
    )
