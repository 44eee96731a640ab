"""The set-up script: which Pythons it accepts, when it works again, and that it needs nothing but Python."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import run


@pytest.mark.parametrize("version", [(3, 10), (3, 13), (3, 12, 4)])
def test_supported_pythons_are_accepted(version: tuple[int, ...]) -> None:
    run.check_version(version, "this")


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 14), (4, 0)])
def test_other_pythons_are_refused_in_one_sentence(version: tuple[int, ...]) -> None:
    with pytest.raises(
        run.SetupError, match=rf"Python {version[0]}\.{version[1]}, but .* needs Python 3\.10 to 3\.13\.$"
    ):
        run.check_version(version, "this")


def test_a_python_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert run.python_version(tmp_path / "python") is None
    assert run.python_version(Path(sys.executable)) == sys.version_info[:2]


def test_set_up_is_done_again_when_requirements_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("numpy", encoding="utf-8")
    monkeypatch.setattr(run, "INPUTS", (requirements,))
    monkeypatch.setattr(run, "environment_python", lambda: Path(sys.executable))
    monkeypatch.setattr(run, "STAMP", tmp_path / "stamp.txt")
    monkeypatch.setattr(run, "make_environment", lambda: None)
    calls = []
    monkeypatch.setattr(run, "pip_install", lambda *arguments: calls.append(arguments))
    run.setup()
    assert len(calls) == 2
    run.setup()
    assert len(calls) == 2
    requirements.write_text("numpy>=2", encoding="utf-8")
    run.setup()
    assert len(calls) == 4


def test_a_failed_installation_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "environment_python", lambda: Path(sys.executable))
    monkeypatch.setattr(run, "STAMP", tmp_path / "stamp.txt")
    monkeypatch.setattr(run, "make_environment", lambda: None)
    monkeypatch.setattr(run, "run", lambda *command: 1)
    with pytest.raises(run.SetupError, match="pip"):
        run.setup()
    assert not run.STAMP.exists()


def test_only_the_standard_library_is_used() -> None:
    tree = ast.parse(Path(run.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)


def test_every_requirement_is_pinned_for_the_tests() -> None:
    def names(path: Path) -> set[str]:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = (line.split(">=")[0].split("==")[0].strip().lower() for line in lines)
        return {name for name in found if name and not name.startswith(("#", "-"))}

    wanted = names(run.REQUIREMENTS) | names(run.ROOT / "Resources" / "requirements.txt")
    assert wanted <= names(run.CONSTRAINTS)
