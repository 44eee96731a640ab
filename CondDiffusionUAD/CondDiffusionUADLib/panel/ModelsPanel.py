"""The part of the panel that imports and removes models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.bundle_folders import imported_bundles
from CondDiffusionUADLib.panel.Consent import confirm
from CondDiffusionUADLib.panel.Widgets import chosen
from CondDiffusionUADLib.run.Bundles import shippedBundles
from CondDiffusionUADLib.run.ChildProcess import ChildProcess, Launch

_ERROR = "Error: "


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
        title = _("Choose the ZIP archive of a model")
        path = str(qt.QFileDialog.getOpenFileName(self._ui.settingsSection, title, "", _("Model (*.zip)")))
        if path:
            self._import(Path(path))

    def _import(self, archive: Path) -> None:
        home, force = imported_bundles(), ()
        if home is not None and (home / archive.stem).exists():
            question = _("There is a model {name} already. Replace it?").format(name=archive.stem)
            if not confirm(question, self._ui.settingsSection.window()):
                return
            force = ("--force",)
        self._output = b""
        try:
            launch = self._launch("bundle", "import", str(archive), *force)
            self._process = ChildProcess(launch, lambda *end: self._onEnded(archive.stem, *end), self._onOutput)
            self._process.start()
        except Exception as error:  # no environment, no room: whatever it is, it can be told
            self._process = None
            self._say(str(error))
            return
        self._say(_("Checking the model {name}...").format(name=archive.stem))
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
