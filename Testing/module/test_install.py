"""Packages: what is missing, one question, and the click that goes on by itself, over a restart too."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
from mrml_application import MrmlApplication
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

ROOT = Path(__file__).resolve().parents[2]
FAKE_WORKER = ROOT / "Testing" / "helpers" / "fake_worker.py"
Wait = Callable[..., float]


class Packages:
    """What is installed, changing while a test goes on."""

    def __init__(self, **versions: str) -> None:
        from CondDiffusionUADLib.run.Requirements import readRequirements

        text = (ROOT / "Resources" / "requirements.txt").read_text(encoding="utf-8")
        self.versions: dict[str, str | None] = {needed.name: "999" for needed in readRequirements(text)}
        self.versions.update({name.replace("_", "-"): version for name, version in versions.items()})

    def version(self, name: str) -> str | None:
        """The version of a package."""
        return self.versions[name]


class Clerk:
    """An installer with everything around it recorded."""

    def __init__(self, packages: Packages) -> None:
        from CondDiffusionUADLib.run.Install import Installer

        self.told: list[str] = []
        self.lines: list[str] = []
        self.results: list[Any] = []
        self.installer = Installer(
            packages, lambda: self.told.append("before"), lambda: self.told.append("after"), self.lines.append
        )

    def ensure(self) -> None:
        """Ask for everything to be installed."""
        self.installer.ensure(self.results.append, self.told.append)

    @property
    def code(self) -> str | None:
        (result,) = self.results
        return result.code if result else None


@pytest.fixture
def questions(app: Application, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The questions that were asked; all are answered with yes."""
    asked: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, title: asked.append(text) or True)
    yield asked


def pip(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let this script be what pip does."""
    from CondDiffusionUADLib.run import Install
    from CondDiffusionUADLib.run.WorkerProcess import Launch

    monkeypatch.setattr(Install, "pipLaunch", lambda wanted: Launch(sys.executable, ("-c", script)))


def torch_extension(monkeypatch: pytest.MonkeyPatch, install: Callable[..., Any]) -> None:
    """Let the extension PyTorch be there."""
    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = type("PyTorchUtilsLogic", (), {"installTorch": staticmethod(install)})
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)


def test_the_requirements_are_understood_and_nothing_is_missing_here() -> None:
    from CondDiffusionUADLib.run.Requirements import PythonPackages, Requirement, missing, readRequirements

    needed = readRequirements((ROOT / "Resources" / "requirements.txt").read_text(encoding="utf-8"))
    assert Requirement("monai", "1.4") in needed and len(needed) >= 10
    assert missing(needed, PythonPackages()) == []
    with pytest.raises(ValueError, match="no requirement"):
        readRequirements("torch==2.0")


@pytest.mark.parametrize(
    ("version", "is_missing"),
    [("1.3.9", True), ("1.4", False), ("1.4.0", False), ("1.10", False), ("2", False), (None, True), ("", True)],
)
def test_versions_are_compared_as_numbers(version: str | None, is_missing: bool) -> None:
    from CondDiffusionUADLib.run.Requirements import Requirement, missing

    packages = types.SimpleNamespace(version=lambda name: version)
    assert bool(missing([Requirement("monai", "1.4")], packages)) == is_missing


@pytest.mark.parametrize("what_is_left", ["folder", "description"])
def test_a_torch_that_is_only_partly_there_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what_is_left: str
) -> None:
    from CondDiffusionUADLib.run.Requirements import PythonPackages

    if what_is_left == "folder":
        (tmp_path / "torch" / "lib").mkdir(parents=True)
    else:
        (tmp_path / "torch-2.0.dist-info").mkdir()
        (tmp_path / "torch-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    importlib.invalidate_caches()
    assert PythonPackages().version("torch") == ""
    assert PythonPackages().version("monai") is None


def test_nothing_is_asked_when_nothing_is_missing(questions: list[str]) -> None:
    clerk = Clerk(Packages())
    clerk.ensure()
    assert clerk.results == [None] and questions == [] and clerk.told == []


def test_declining_ends_it(app: Application) -> None:
    """Under --testing, dialogs answer by themselves: this one with no."""
    clerk = Clerk(Packages(monai="1.0"))
    clerk.ensure()
    assert clerk.code == "packages_declined" and "before" not in clerk.told


def test_packages_are_installed_by_pip_before_slicer_5_12(
    questions: list[str], monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    packages = Packages(monai="1.0", scikit_image="0.1", SimpleITK="0.1")
    pip(monkeypatch, "print('Collecting monai'); print('done')")
    clerk = Clerk(packages)
    clerk.ensure()
    assert clerk.results == [] and clerk.told[0] == "before"
    packages.versions.update({"monai": "1.4", "scikit-image": "1"})
    wait_until(lambda: clerk.results, 20)
    assert clerk.results == [None] and clerk.told[-1] == "after"
    assert clerk.lines == ["Collecting monai", "done"]
    assert len(questions) == 1
    assert "monai, scikit-image" in questions[0] and "MB" in questions[0] and "no data leaves it" in questions[0]
    assert "SimpleITK" not in questions[0], "it comes with Slicer"


def test_pip_runs_in_slicers_python_and_leaves_alone_what_slicer_brings(app: Application) -> None:
    from CondDiffusionUADLib.run.Install import KEPT, pipLaunch
    from CondDiffusionUADLib.run.Requirements import Requirement

    launch = pipLaunch([Requirement("monai", "1.4")])
    assert launch.program.endswith("PythonSlicer")
    assert launch.arguments[:3] == ("-m", "pip", "install") and launch.arguments[-1] == "monai>=1.4"
    assert not set(KEPT) & set(launch.arguments)
    done = subprocess.run([launch.program, "-m", "pip", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip ")


@pytest.mark.parametrize("script", ["import sys; sys.exit(1)", "print('as if')"])
def test_a_failed_installation_is_told(
    questions: list[str], monkeypatch: pytest.MonkeyPatch, wait_until: Wait, script: str
) -> None:
    pip(monkeypatch, script)
    clerk = Clerk(Packages(monai="1.0"))
    clerk.ensure()
    wait_until(lambda: clerk.results, 20)
    assert clerk.code == "install_failed" and "proxy" in clerk.results[0].hint and clerk.told[-1] == "after"


def test_installing_can_be_given_up(questions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pip(monkeypatch, "import time; time.sleep(60)")
    clerk = Clerk(Packages(monai="1.0"))
    clerk.ensure()
    process = clerk.installer._process
    clerk.installer.stop()
    assert clerk.results == [] and clerk.told[-1] == "after" and process is not None


def test_slicers_own_packaging_is_used_where_it_is(questions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    packages, calls = Packages(monai="1.0", deepbet=None), []

    def pip_ensure(requirements: list[str], **options: Any) -> None:
        calls.append((requirements, options))
        packages.versions.update({"monai": "1.5", "deepbet": "1.0.2"})

    module = types.ModuleType("slicer.packaging")
    module.pip_ensure = pip_ensure
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    clerk = Clerk(packages)
    clerk.ensure()
    assert clerk.results == [None]
    ((requirements, options),) = calls
    assert requirements == ["monai>=1.4", "deepbet>=1.0"]
    assert options["prompt_install"] is False and "torch" in options["skip_packages"]
    assert options["requester"] == "CondDiffusionUAD"
    packages.versions["monai"] = None
    module.pip_ensure = lambda *_, **__: (_ for _ in ()).throw(subprocess.CalledProcessError(1, "pip"))
    clerk = Clerk(packages)
    clerk.ensure()
    assert clerk.code == "install_failed"


def test_torch_comes_through_its_extension(questions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    packages, calls = Packages(torch=None), []

    def install(askConfirmation: bool = True, torchVersionRequirement: str = "") -> object:  # noqa: N803 (its names)
        calls.append((askConfirmation, torchVersionRequirement))
        packages.versions["torch"] = "2.13.0"
        return object()

    torch_extension(monkeypatch, install)
    clerk = Clerk(packages)
    clerk.ensure()
    assert clerk.results == [None] and calls == [(False, ">=2.2")] and "PyTorch 200" in questions[0]
    # A version of the extension whose arguments are called something else.
    packages.versions["torch"] = None
    torch_extension(monkeypatch, lambda confirm=True: packages.versions.update(torch="2.13.0") or object())
    clerk = Clerk(packages)
    clerk.ensure()
    assert clerk.results == [None]


@pytest.mark.parametrize("failure", ["declined", "raises"])
def test_torch_that_is_not_installed_is_told(
    questions: list[str], monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    def install(**options: Any) -> None:
        if failure == "raises":
            raise RuntimeError("no network")

    torch_extension(monkeypatch, install)
    clerk = Clerk(Packages(torch=None))
    clerk.ensure()
    assert clerk.code == ("install_failed" if failure == "raises" else "packages_declined")
    assert clerk.told[-1] == "after"


def test_without_the_torch_extension_nothing_is_asked(questions: list[str]) -> None:
    clerk = Clerk(Packages(torch=None))
    clerk.ensure()
    assert clerk.code == "pytorch_extension_missing" and "Extensions Manager" in clerk.results[0].hint
    assert questions == []


def test_a_broken_torch_is_told_before_anything_is_asked(questions: list[str]) -> None:
    clerk = Clerk(Packages(torch=""))
    clerk.ensure()
    assert clerk.code == "torch_broken" and "restart Slicer" in clerk.results[0].hint and questions == []


def test_a_disk_that_is_too_full_is_told_before_anything_is_asked(
    questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import Install

    monkeypatch.setattr(Install.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1e8))
    clerk = Clerk(Packages(monai="1.0"))
    clerk.ensure()
    assert clerk.code == "disk_full" and questions == []


def make_panel(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A panel with these packages and the fake worker."""
    import qt

    from CondDiffusionUAD import CondDiffusionUADLogic
    from CondDiffusionUADLib.panel.Widget import Panel
    from CondDiffusionUADLib.run import Application
    from CondDiffusionUADLib.run.WorkerProcess import Launch

    monkeypatch.setattr(
        Application, "engineLaunch", lambda *arguments: Launch(sys.executable, (str(FAKE_WORKER), "ok"))
    )
    parent = qt.QWidget()
    panel = Panel(qt.QVBoxLayout(parent), CondDiffusionUADLogic(), packages)
    panel.parent_kept = parent
    return panel


def test_nothing_is_installed_or_asked_before_the_click(
    questions: list[str], scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel(Packages(torch=None, monai=None), monkeypatch)
    panel.enter()
    assert questions == [] and not panel.run.busy and panel.ui.detectButton.enabled
    panel.close()


def test_the_click_goes_on_by_itself_after_the_installation(
    app: Application, questions: list[str], scan: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    packages = Packages(monai="1.0")
    pip(monkeypatch, "print('Collecting monai')")
    panel = make_panel(packages, monkeypatch)
    panel.ui.detectButton.click()
    assert panel.run.busy and "Installing packages" in panel.ui.stageLabel.text
    from CondDiffusionUADLib.run import Resume

    assert Resume.isPending(app.userSettings())
    packages.versions["monai"] = "1.5"
    wait_until(lambda: not panel.run.busy, 30)
    assert panel.ui.messageLabel.text.startswith("Done.")
    assert "Collecting monai" in panel.ui.logView.plainText
    assert not Resume.isPending(app.userSettings()) and len(questions) == 1
    panel.close()


def test_declined_packages_leave_the_panel_ready(app: Application, scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = make_panel(Packages(monai="1.0"), monkeypatch)
    panel.ui.detectButton.click()
    assert "Without the packages nothing can be detected." in panel.ui.messageLabel.text
    assert panel.ui.detectButton.enabled and not panel.run.busy
    panel.close()


def test_an_installation_can_be_canceled(questions: list[str], scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(monkeypatch, "import time; time.sleep(60)")
    panel = make_panel(Packages(monai="1.0"), monkeypatch)
    panel.ui.detectButton.click()
    panel.ui.cancelButton.click()
    assert panel.ui.messageLabel.text == "Canceled." and panel.ui.detectButton.enabled
    panel.close()


def test_after_a_restart_the_scan_is_loaded_again_and_examined(
    app: Application,
    mrml: MrmlApplication,
    scan_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Wait,
) -> None:
    from mrml_application import load_volume

    from CondDiffusionUADLib.run import Resume

    volume = load_volume(mrml, scan_file, "ball_T1")
    before = make_panel(Packages(), monkeypatch)
    before._parameters.seed = 7
    before._beforeInstall()
    before.close()
    kept = json.loads(app.userSettings().value("CondDiffusionUAD/ResumeAfterRestart"))
    assert kept["file"] == str(scan_file) and kept["contrast"] == "T1"
    mrml.scene.RemoveNode(volume)
    mrml.scene.Clear(True)
    monkeypatch.setattr(slicer.util, "loadVolume", lambda path: load_volume(mrml, Path(path), "ball_T1"))
    after = make_panel(Packages(), monkeypatch)
    assert after.input.volume is None
    after.enter()
    wait_until(lambda: not after.run.busy, 30)
    assert after.ui.messageLabel.text.startswith("Done."), after.ui.messageLabel.text
    assert after.ui.seedBox.value == 7 and not Resume.isPending(app.userSettings())
    after.enter()
    assert not after.run.busy, "only once"
    after.close()


def test_after_a_restart_without_the_file_the_user_is_told(
    app: Application, mrml: MrmlApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel(Packages(), monkeypatch)
    panel._beforeInstall()
    panel.enter()
    assert panel.ui.messageLabel.text == "The packages are installed. Load the scan and detect."
    panel.close()
