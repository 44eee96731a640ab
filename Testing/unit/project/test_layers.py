"""Every import points down: the layers of the engine, and the three rooms of the project."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "CondDiffusionUAD"
ENGINE, LIBRARY = SOURCES / "conddiffusion_uad", SOURCES / "CondDiffusionUADLib"
LAYERS = (
    "protocol",
    "io",
    "preprocessing",
    "model",
    "method",
    "bundle",
    "detection",
    "app",
    "training",
    "evaluation",
)
SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "CondDiffusionUADLib"}


def imports(path: Path) -> Iterator[str]:
    """The full names of all that a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> int | None:
    """The layer that an import leads into; None outside the engine's layers."""
    package, _, rest = name.partition(".")
    folder = rest.split(".")[0]
    return LAYERS.index(folder) if package == ENGINE.name and folder in LAYERS else None


def test_layers_are_the_folders_of_the_engine() -> None:
    folders = {path.name for path in ENGINE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    loose = {path.name for path in ENGINE.iterdir() if path.is_file()}
    assert folders == set(LAYERS)
    assert loose == {"__init__.py", "__main__.py", "py.typed"}


def test_each_folder_says_what_lives_there() -> None:
    for folder in {path.parent for path in ENGINE.rglob("*.py")}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder


def test_every_import_points_down() -> None:
    upward = [
        f"{path.relative_to(ENGINE)} imports {name}"
        for path in sorted(ENGINE.rglob("*.py"))
        for name in imports(path)
        if path.parent != ENGINE
        and (reached := layer(name)) is not None
        and reached > LAYERS.index(path.relative_to(ENGINE).parts[0])
    ]
    assert upward == []


def folder_of(name: str) -> Path:
    """The folder that a module, or a name in it, lies in."""
    path = SOURCES / Path(*name.split("."))
    return next(place for place in (path, *path.parents) if place.is_dir())


def test_no_two_folders_import_each_other_in_a_circle() -> None:
    reached: dict[Path, set[Path]] = {}
    for path in ENGINE.rglob("*.py"):
        folders = {folder_of(name) for name in imports(path) if name.startswith(f"{ENGINE.name}.")}
        away = {f for f in folders if f not in (path.parent, *path.parent.parents) and path.parent not in f.parents}
        reached.setdefault(path.parent, set()).update(away)
    tuple(TopologicalSorter(reached).static_order())  # raises CycleError, which names the circle


def test_the_protocol_needs_the_standard_library_only() -> None:
    files = [*(ENGINE / "protocol").rglob("*.py"), ENGINE / "__init__.py"]
    tops = {name.split(".")[0] for path in files for name in imports(path)}
    assert tops <= {*sys.stdlib_module_names, ENGINE.name}


def test_the_engine_does_not_know_slicer() -> None:
    for path in ENGINE.rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & SLICER, path


def test_slicers_side_knows_nothing_of_the_engine_but_the_protocol() -> None:
    for path in LIBRARY.rglob("*.py"):
        for name in imports(path):
            inside = name.startswith(f"{ENGINE.name}.") and name != f"{ENGINE.name}.__version__"
            assert not inside or name.startswith(f"{ENGINE.name}.protocol."), f"{path}: {name}"


def test_slicers_side_does_not_load_torch() -> None:
    files = [path.relative_to(SOURCES) for path in LIBRARY.rglob("*.py") if path.stem != "__init__"]
    names = [".".join(path.with_suffix("").parts) for path in files]
    script = (
        "import sys, importlib; from standin.application import install_python; install_python(); "
        f"[importlib.import_module(n) for n in {names}]; print(*sorted(sys.modules))"
    )
    helpers = SOURCES.parent / "Testing" / "helpers"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=SOURCES,
        env={**os.environ, "PYTHONPATH": str(helpers)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert LIBRARY.name in loaded
    assert not loaded & {"torch", "monai", "SimpleITK", "scipy"}
