"""The questions that the panel asks before it does something that takes room or cannot be undone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.run.Installing import Installing

TITLE = "CondDiffusionUAD"


@dataclass(frozen=True)
class Consent:
    """The user agreed to an installation.

    Attributes:
        wheels: The folder to install from; None for the network.
    """

    wheels: Path | None = None


def confirm(text: str, parent: Any) -> bool:
    """Ask; a "no" by itself while Slicer runs its tests."""
    return _answer(text, [_("OK")], parent) == 0


def askForModel(parent: Any) -> Path | None:
    """The folder or ZIP archive of a model to import; None when the user does not want to."""
    answer = _answer(_("A model is a folder or its ZIP archive."), [_("ZIP archive..."), _("Folder...")], parent)
    if answer is None:
        return None
    if answer == 0:
        kinds = _("Model (*.zip)")
        path = str(qt.QFileDialog.getOpenFileName(parent, _("Choose the ZIP archive of a model"), "", kinds))
    else:
        path = str(qt.QFileDialog.getExistingDirectory(parent, _("Choose the folder of a model")))
    return Path(path) if path else None


def askToQuit(text: str, parent: Any) -> bool:
    """Ask whether to quit although something is under way."""
    return _answer(text, [_("Quit")], parent) == 0


def askToInstall(installer: Installing, parent: Any) -> Consent | None:
    """Ask whether to install the environment, and from where; None when the user does not want to."""
    fromFolder = _("Install from a folder of wheels...")
    answer = _answer(installer.question(), [_("Install"), fromFolder], parent)
    if answer == 0:
        return Consent()
    if answer is None:
        return None
    folder = str(qt.QFileDialog.getExistingDirectory(parent, _("Choose the folder with the wheels")))
    if folder and _answer(installer.question(Path(folder)), [_("Install")], parent) == 0:
        return Consent(Path(folder))
    return None


def _answer(text: str, choices: list[str], parent: Any) -> int | None:
    """Which of the choices the user clicked; None for "Cancel", and while Slicer runs its tests."""
    if slicer.app.testingEnabled():
        return None
    box = qt.QMessageBox(parent)
    box.setWindowTitle(TITLE)
    box.setTextFormat(qt.Qt.PlainText)
    box.setText(text)
    buttons = [box.addButton(choice, qt.QMessageBox.AcceptRole) for choice in choices]
    box.addButton(_("Cancel"), qt.QMessageBox.RejectRole)
    box.exec_()
    clicked = box.clickedButton()
    return next((index for index, button in enumerate(buttons) if button == clicked), None)
