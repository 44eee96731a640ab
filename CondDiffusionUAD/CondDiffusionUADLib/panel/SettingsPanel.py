"""The parts of the panel with what holds for all scenes: the engine's environment, when it starts, and models."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.bundle_folders import imported_bundles, present_name
from CondDiffusionUADLib.panel.Dialogs import askForModel, askToInstall, confirm
from CondDiffusionUADLib.panel.RunPanel import RunPanel
from CondDiffusionUADLib.panel.Widgets import chosen
from CondDiffusionUADLib.run import UserSettings
from CondDiffusionUADLib.run.Bundles import shippedBundles
from CondDiffusionUADLib.run.ChildProcess import ChildProcess, Launch
from CondDiffusionUADLib.run.Installer import Installer
from CondDiffusionUADLib.run.Problems import Problem, ProblemError

_ERROR = "Error: "
_MOST_NAME = 50  # characters


class SettingsPanel:
    """Environment and readiness.

    Args:
        ui: The widgets of the panel by name.
        installer: Sees to the environment.
        run: Shows how an installation goes.
        changed: Called when the engine may be another one, or is to be ready at another time.
    """

    def __init__(self, ui: Any, installer: Installer, run: RunPanel, changed: Callable[[], None]) -> None:
        self._ui = ui
        self._installer = installer
        self._run = run
        self._changed = changed
        ui.repairButton.clicked.connect(self._onRepair)
        ui.removeButton.clicked.connect(self._onRemove)
        ui.chooseEnvironmentButton.clicked.connect(self._onChoose)
        ui.readyBox.checked = UserSettings.keepReady()
        ui.readyBox.toggled.connect(self._onReady)
        self.showMemory()
        self.show()

    def show(self) -> None:
        """Show the environment as it is now."""
        ui, state = self._ui, self._installer.state()
        ui.environmentLabel.text = state.text
        ui.environmentLabel.toolTip = ""
        ui.repairButton.text = _("Repair...") if state.ready or state.megabytes else _("Install...")
        ui.removeButton.enabled = not state.named and state.megabytes is not None
        ui.chooseEnvironmentButton.text = _("Use our own") if state.usesNamed else _("Use another...")
        for button in (ui.repairButton, ui.removeButton, ui.chooseEnvironmentButton):
            button.visible = not self._run.busy

    def showMemory(self, megabytes: int | None = None) -> None:
        """Show how much memory the loaded model takes; None when it is not loaded."""
        text = _("The model is loaded: {size} MB of memory, until ten minutes after its last use.")
        self._ui.readyLabel.text = text.format(size=megabytes) if megabytes is not None else ""
        self._ui.readyLabel.visible = megabytes is not None

    def _onRepair(self, *_checked: Any) -> None:
        try:
            consent = askToInstall(self._installer, self._ui.settingsSection.window())
        except ProblemError as error:
            self._run.show(error.problem.text)
            return
        if consent is not None:
            self._run.installOwn(consent, self._onDone)

    def _onRemove(self, *_checked: Any) -> None:
        state = self._installer.state()
        question = _("Delete the Python environment of this module in {place}? That frees {size} MB.")
        if not confirm(question.format(place=state.place, size=state.megabytes), self._ui.settingsSection.window()):
            return
        try:
            self._installer.remove()  # which ends what runs in it
        except ProblemError as error:
            self._run.show(error.problem.text)
        self._changed()
        self.show()

    def _onChoose(self, *_checked: Any) -> None:
        python = ""
        if not self._installer.state().usesNamed:
            title = _("Choose the folder of a Python environment with the engine's packages")
            python = str(qt.QFileDialog.getExistingDirectory(self._ui.settingsSection, title))
            if not python:
                return
        self._run.install(lambda listener: self._installer.use(python, listener), self._onDone)

    def _onDone(self, problem: Problem | None) -> None:
        if problem is None:
            self._run.show(_("The Python environment is ready."))
        self.show()
        self._changed()

    def _onReady(self, wanted: bool) -> None:
        UserSettings.setKeepReady(bool(wanted))
        self.showMemory()
        self._changed()


class ModelsPanel:
    """Import and removal of models. The engine checks what is imported, in a process of its own.

    Args:
        ui: The widgets of the panel by name.
        launch: How to start the engine with some arguments; raises ProblemError or OSError.
        say: Shows a message.
        changed: Called when other models are installed, with the name of a new one or nothing.
    """

    def __init__(
        self, ui: Any, launch: Callable[..., Launch], say: Callable[[str], None], changed: Callable[[str], None]
    ) -> None:
        self._ui = ui
        self._launch = launch
        self._say = say
        self._changed = changed
        self._process: ChildProcess | None = None
        self._output = b""
        ui.importModelButton.clicked.connect(self._onImport)
        ui.removeModelButton.clicked.connect(self._onRemove)
        self.show()

    def show(self) -> None:
        """Offer the removal where the chosen model is an imported one."""
        self._ui.importModelButton.enabled = self._process is None
        self._ui.removeModelButton.enabled = self._process is None and self._imported() is not None

    def close(self) -> None:
        """The panel goes."""
        if self._process is not None:
            self._process.abandon()
            self._process = None

    def _imported(self) -> Path | None:
        """The folder of the chosen model if it is an imported one."""
        home, name = imported_bundles(), chosen(self._ui.bundleBox)
        found = shippedBundles(home) if home is not None else []
        return next((bundle.folder for bundle in found if bundle.name == name), None)

    def _onImport(self, *_checked: Any) -> None:
        source = askForModel(self._ui.settingsSection.window())
        if source is not None:
            self._import(source, importedName(source))

    def _import(self, source: Path, name: str) -> None:
        home, force = imported_bundles(), ()
        if home is not None and (home / name).exists():
            question = _("There is a model {name} already. Replace it?").format(name=name)
            if not confirm(question, self._ui.settingsSection.window()):
                return
            force = ("--force",)
        self._output = b""
        try:
            launch = self._launch("bundle", "import", str(source), "--name", name, *force)
            self._process = ChildProcess(launch, lambda *end: self._onEnded(name, *end), self._onOutput)
            self._process.start()
        except Exception as error:  # no environment, no room: whatever it is, it can be told
            self._process = None
            self._say(str(error))
            return
        self._say(_("Checking the model {name}...").format(name=name))
        self.show()

    def _onOutput(self, data: bytes) -> None:
        self._output += data

    def _onEnded(self, name: str, started: bool, code: int) -> None:
        self._process = None
        if started and code == 0:
            self._say(_("The model {name} is installed.").format(name=name))
            self._changed(name)
        else:
            lines = self._output.decode("utf-8", "replace").splitlines()
            told = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
            reason = told[-1] if told else _("It could not be checked.")
            self._say(_("The model {name} was not installed. {reason}").format(name=name, reason=reason))
        self.show()

    def _onRemove(self, *_checked: Any) -> None:
        folder = self._imported()
        question = _("Delete the imported model {name}?")
        if folder is None or not confirm(question.format(name=folder.name), self._ui.settingsSection.window()):
            return
        try:
            shutil.rmtree(folder)
        except OSError as error:
            self._say(_("The model cannot be deleted: {reason}").format(reason=error.strerror or error))
        else:
            self._say(_("The model {name} is deleted.").format(name=folder.name))
        self._changed("")
        self.show()


def importedName(source: Path) -> str:
    """What a model from a folder or archive is called: its name in the letters that the engine takes, and its own."""
    stem = source.stem if source.suffix.lower() == ".zip" else source.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:_MOST_NAME] or "model"
    return f"{name}-imported" if present_name(name) in [bundle.name for bundle in shippedBundles()] else name
