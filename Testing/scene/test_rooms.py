"""The engine knows nothing of Slicer, and Slicer's side never imports torch: a broken torch must not take it down."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "CondDiffusionUAD"
ENGINE = sorted((SOURCES / "conddiffusion_uad").rglob("*.py"))
LIBRARY = sorted((SOURCES / "CondDiffusionUADLib").glob("*.py"))


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_engine_does_not_know_slicer(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in imported}
    assert not tops & {"slicer", "qt", "ctk", "vtk", "vtkmodules", "CondDiffusionUADLib"}


def test_library_does_not_load_torch() -> None:
    names = [f"CondDiffusionUADLib.{path.stem}" for path in LIBRARY if path.stem != "__init__"]
    script = (
        "import sys, importlib; from standin.application import install_python; install_python(); "
        f"[importlib.import_module(n) for n in {names}]; print(*sorted(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCES.parent / "Testing")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=SOURCES,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "CondDiffusionUADLib" in loaded
    assert not loaded & {"torch", "monai", "SimpleITK", "scipy"}
