"""The part of the panel with what holds for all scenes: the environment that the engine runs in, and when it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Consent import askToInstall, confirm
from CondDiffusionUADLib.panel.RunPanel import RunPanel
from CondDiffusionUADLib.run import UserSettings
from CondDiffusionUADLib.run.Installing import Installing
from CondDiffusionUADLib.run.Problems import Problem, ProblemError


class SettingsPanel:
    """Environment and readiness.

    Args:
        ui: The widgets of the panel by name.
        installer: Sees to the environment.
        run: Shows how an installation goes.
        changed: Called when the engine may be another one, or is to be ready at another time.
    """

    def __init__(self, ui: Any, installer: Installing, run: RunPanel, changed: Callable[[], None]) -> None:
        self._ui = ui
        self._installer = installer
        self._run = run
        self._changed = changed
        ui.repairButton.clicked.connect(self._onRepair)
        ui.removeButton.clicked.connect(self._onRemove)
        ui.chooseEnvironmentButton.clicked.connect(self._onChoose)
        ui.readyBox.checked = UserSettings.keepReady()
        ui.readyBox.toggled.connect(self._onReady)
        self.showMemory(None)
        self.show()

    def show(self) -> None:
        """Show the environment as it is now."""
        ui, state = self._ui, self._installer.state()
        ui.environmentLabel.text = state.text
        ui.environmentLabel.toolTip = ""
        ui.repairButton.text = _("Repair...") if state.ready or state.megabytes else _("Install...")
        ui.removeButton.enabled = not state.named and state.megabytes is not None
        ui.chooseEnvironmentButton.text = _("Use our own") if state.named else _("Use another...")
        for button in (ui.repairButton, ui.removeButton, ui.chooseEnvironmentButton):
            button.visible = not self._run.busy

    def showMemory(self, megabytes: int | None) -> None:
        """Show how much memory the loaded model takes; None when it is not loaded."""
        text = _("The model is loaded: {size} MB of memory, until ten minutes after its last use.")
        self._ui.readyLabel.text = text.format(size=megabytes) if megabytes is not None else ""
        self._ui.readyLabel.visible = megabytes is not None

    def _onRepair(self, *_checked: Any) -> None:
        consent = askToInstall(self._installer, self._ui.settingsSection.window())
        if consent is not None:
            self._run.installOwn(consent, self._onDone)

    def _onRemove(self, *_checked: Any) -> None:
        state = self._installer.state()
        question = _("Delete the Python environment of this module in {place}? That frees {size} MB.")
        if not confirm(question.format(place=state.place, size=state.megabytes), self._ui.settingsSection.window()):
            return
        try:
            self._changed()  # what runs in it has to end first
            self._installer.remove()
        except ProblemError as error:
            self._run.show(error.problem.text)
        self.show()

    def _onChoose(self, *_checked: Any) -> None:
        python = ""
        if not self._installer.state().named:
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
        self.showMemory(None)
        self._changed()
