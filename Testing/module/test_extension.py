"""The extension as Slicer and its index see it: metadata, files that are packaged, module, sample data, manners."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import slicer
from mrml_application import MrmlApplication
from PIL import Image
from PySide6 import QtCore, QtGui, QtWidgets
from standin.application import Application

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "CondDiffusionUAD"
LIBRARY = sorted((MODULE / "CondDiffusionUADLib").rglob("*.py"))
RESEARCH = ("conddiffusion_uad/training/", "conddiffusion_uad/evaluation/")  # not for Slicer
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def quoted(name: str) -> str:
    (value,) = re.findall(rf'set\({name} "([^"]*)"\)', CMAKE)
    return value


def test_the_index_entry_agrees_with_cmake() -> None:
    entry = json.loads((ROOT / "CondDiffusionUAD.json").read_text(encoding="utf-8"))
    assert set(entry) <= {
        "$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"
    }  # fmt: skip
    assert re.search(r"project\((\w+)\)", CMAKE)[1] == "CondDiffusionUAD"  # type: ignore[index]
    assert entry["category"] == quoted("EXTENSION_CATEGORY") == "Neuroimaging"
    assert entry["build_dependencies"] == [] and quoted("EXTENSION_DEPENDS") == "NA"
    assert entry["scm_url"].removesuffix(".git") == quoted("EXTENSION_HOMEPAGE")
    assert entry["scm_url"].removesuffix(".git").endswith("/SlicerCondDiffusionUAD")
    description = quoted("EXTENSION_DESCRIPTION")
    assert "Research use only, not a medical device" in description and "CC BY-SA 4.0" in description
    assert description.startswith("Brain anomaly detection"), "what people search for"


def test_the_readme_discloses_licenses_and_patents() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for words in ("CC BY-SA 4.0", "Apache License 2.0", "LGPL", "cc3d", "fill_voids", "fastremap", "patent"):
        assert words in readme, words
    for model in (ROOT / "Resources" / "Models").iterdir():
        terms = (model / "LICENSE").read_text(encoding="utf-8")
        assert "(CC BY-SA 4.0)" in terms and "NonCommercial" not in terms, model.name
        assert f"[{model.name}](Resources/Models/{model.name}/LICENSE)" in readme, model.name


@pytest.mark.parametrize("name", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_that_the_index_shows_are_there(name: str) -> None:
    for url in quoted(name).split():
        assert url.startswith("https://") and url.endswith(".png")
        assert (ROOT / url.partition("/main/")[2]).is_file()
    assert Image.open(ROOT / "Resources" / "Icons" / "CondDiffusionUAD.png").size == (128, 128)


def test_every_file_is_packaged() -> None:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"^  ((?:CondDiffusionUADLib|conddiffusion_uad)/\S+)$", text, re.MULTILINE))
    there = {
        path.relative_to(MODULE).as_posix()
        for package in ("CondDiffusionUADLib", "conddiffusion_uad")
        for path in (MODULE / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    there = {path for path in there if not path.startswith(RESEARCH)}
    assert listed == there, "Slicer packages what CondDiffusionUAD/CMakeLists.txt lists, and nothing else"
    assert "CMAKE_SOURCE_DIR" not in text, "inside a custom application that is the application"
    assert text.count("${CondDiffusionUAD_SOURCE_DIR}/Resources") == 2


def test_only_the_module_lies_where_slicer_looks_for_modules() -> None:
    assert [path.name for path in MODULE.glob("*.py")] == ["CondDiffusionUAD.py"]


def imports_at_the_top(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


def test_the_module_file_is_small_and_light() -> None:
    path = MODULE / "CondDiffusionUAD.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120
    assert imports_at_the_top(path) - set(sys.stdlib_module_names) == {"qt", "slicer"}


# Of Slicer's registerCustomSampleDataSource, those that 5.10 and 5.13 both have.
SAMPLE_PARAMETERS = {"category", "sampleName", "uris", "fileNames", "nodeNames", "thumbnailFileName", "checksums"}
SAMPLE_PARAMETERS |= {"customDownloader", "loadFiles", "loadFileProperties"}


def test_the_module_says_what_it_is(app: Application, mrml: MrmlApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUAD import CondDiffusionUAD

    registered: list[dict[str, Any]] = []
    module = types.ModuleType("SampleData")

    def register(**source: Any) -> None:
        assert set(source) <= SAMPLE_PARAMETERS
        registered.append(source)

    module.SampleDataLogic = types.SimpleNamespace(registerCustomSampleDataSource=register)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "SampleData", module)
    parent = types.SimpleNamespace(path=str(MODULE / "CondDiffusionUAD.py"))
    CondDiffusionUAD(parent)
    assert parent.title == "Brain Anomaly Detection"
    assert parent.categories == ["Segmentation", "Neuroimaging"]
    assert 'href="https://' in parent.helpText
    assert "not a medical device" in parent.helpText and "arXiv:2312.04215" in parent.acknowledgementText
    assert not parent.icon.isNull()
    app.send("startupCompleted()")
    from CondDiffusionUADLib.scene.CandidateSegmentation import CONTEXT_NAME

    assert mrml.terminologies.IsTerminologyContextLoaded(CONTEXT_NAME)
    assert registered[0]["sampleName"] == "Synthetic_T2_brain" and registered[0]["uris"].startswith("file:///")
    assert Path(registered[0]["thumbnailFileName"]).is_file()
    for source in registered[1:]:
        assert source["uris"].startswith("https://") and source["checksums"].split(":")[1] in source["uris"]


def test_start_up_without_the_sample_data_module(app: Application) -> None:
    from CondDiffusionUAD import CondDiffusionUAD

    CondDiffusionUAD(types.SimpleNamespace(path=str(MODULE / "CondDiffusionUAD.py")))
    app.send("startupCompleted()")


def test_texts_for_translators_are_literals() -> None:
    """The translators' tool takes what stands inside of the call, and nothing else."""
    for path in (MODULE / "CondDiffusionUAD.py", *LIBRARY):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}, line {node.lineno}"
            named = getattr(node, "arg", None) if isinstance(node, ast.arg) else getattr(node, "id", None)
            stored = isinstance(node, ast.arg) or isinstance(getattr(node, "ctx", None), ast.Store)
            translates = "import tr as _" in path.read_text(encoding="utf-8")
            assert not (stored and named == "_" and translates), f"{path.name}, line {node.lineno}: _ translates"


def test_the_checksum_of_the_shipped_scan_is_right_and_names_tell_contrasts() -> None:
    from conddiffusion_uad.protocol.contrast_names import named_in
    from CondDiffusionUADLib.run.Folders import resource
    from CondDiffusionUADLib.scene.SampleData import SAMPLES

    for sample in SAMPLES:
        assert named_in(sample.name) in ("T1", "T2")
        assert re.fullmatch(r"[0-9a-f]{64}", sample.sha256)
        if sample.shipped:
            data = resource(f"SampleData/{sample.fileName}").read_bytes()
            assert hashlib.sha256(data).hexdigest() == sample.sha256


def test_the_self_test_of_the_module(app: Application, mrml: MrmlApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    """With packages that are missing, as in a fresh Slicer."""
    from mrml_application import load_volume

    from CondDiffusionUADLib.run.Application import selfTest
    from CondDiffusionUADLib.run.Problems import Problem, ProblemError

    def refuse(code: str) -> Any:
        def detect(*_: Any, **__: Any) -> None:
            raise ProblemError(Problem(code, "No."))

        return types.SimpleNamespace(detect=detect)

    monkeypatch.setattr(slicer.util, "loadVolume", lambda path, properties: load_volume(mrml, Path(path), "scan"))
    selfTest(refuse("torch_missing"))
    with pytest.raises(AssertionError, match="No"):
        selfTest(refuse("worker_died"))


def test_the_panel_is_a_designer_file_with_named_widgets() -> None:
    tree = ElementTree.parse(ROOT / "Resources" / "UI" / "CondDiffusionUAD.ui")
    names = [widget.get("name") for widget in tree.iter("widget")]
    assert len(names) == len(set(names))
    used = set(re.findall(r"\bui\.(\w+)", "".join(path.read_text(encoding="utf-8") for path in LIBRARY)))
    assert used <= set(names), "the code uses widgets that the panel does not have"
    for widget in tree.iter("widget"):
        explained = widget.get("class") not in ("QPushButton", "QComboBox", "QSlider")
        assert explained or widget.find("property[@name='toolTip']") is not None, widget.get("name")


def qt_methods() -> set[str]:
    """Names of all methods of Qt's classes."""
    return {
        name
        for part in (QtCore, QtGui, QtWidgets)
        for kind in vars(part).values()
        if isinstance(kind, type) and issubclass(kind, QtCore.QObject)
        for name in dir(kind)
        if not name.startswith("_")
    }


# They run in a process of their own, without Slicer.
OUTSIDE = (
    "BuildEnvironment",
    "BuildError",
    "BuildOrder",
    "EnvironmentTest",
    "InstallationPlan",
    "PythonCandidates",
    "Uv",
)
INSIDE = [MODULE / "CondDiffusionUAD.py", *(path for path in LIBRARY if path.stem not in OUTSIDE)]


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: path.stem)
def test_manners_that_pythonqt_demands(path: Path) -> None:
    """What the stand-in cannot refuse while it runs: keyword arguments to Qt, handling events inside of handlers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = {"show", "update", "connect", "close", "format", "print", "sort", "run", "write", "open"}
    methods = qt_methods() - ours
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            is_qt = isinstance(owner, ast.Name) and owner.id in ("qt", "ctk")
            if is_qt or node.func.attr in methods:
                assert not node.keywords, f"line {node.lineno}: PythonQt takes no keyword arguments"
            assert node.func.attr != "processEvents", f"line {node.lineno}: no processEvents in handlers"
    assert not re.search(r"\bexcept:|\bimport \*|threading", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_files_fit_in_the_head(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.returns is not None and (node.end_lineno or 0) - node.lineno <= 60, node.name
            arguments = [*node.args.args, *node.args.kwonlyargs, node.args.vararg]
            assert all(a.annotation for a in arguments if a is not None and a.arg not in ("self", "cls")), node.name


def test_no_bundle_is_named_in_the_library() -> None:
    names = [path.parents[1].name for path in (ROOT / "Resources" / "Models").glob("*/configs/metadata.json")]
    for path in (MODULE / "CondDiffusionUAD.py", *LIBRARY):
        for name in names:
            assert f'"{name}"' not in path.read_text(encoding="utf-8")


def test_the_module_works_installed(tmp_path: Path) -> None:
    """Resources lie beside the module then."""
    target = tmp_path / "qt-scripted-modules"
    (target / "Resources" / "Terminologies").mkdir(parents=True)
    terminology = ROOT / "Resources" / "Terminologies" / "CondDiffusionUAD.term.json"
    (target / "Resources" / "Terminologies" / terminology.name).write_bytes(terminology.read_bytes())
    for package in ("CondDiffusionUADLib", "conddiffusion_uad"):
        shutil.copytree(MODULE / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    script = "import sys, CondDiffusionUADLib.run.Folders as folders; print(folders.resource(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, f"Terminologies/{terminology.name}"],
        cwd=target,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).parent.parent.parent == target
