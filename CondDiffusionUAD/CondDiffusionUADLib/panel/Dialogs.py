"""What opens windows of its own: questions, at quitting too, dialogs for files, and the overview."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Widgets import plainLabel
from CondDiffusionUADLib.run.Installer import Installer

TITLE = "CondDiffusionUAD"
_FOLDER = "CondDiffusionUAD/ExportFolder"
_SHARE = 0.95  # of the width of Slicer's window, at most
_BESIDE = 60  # pixels that the frame and the margins take


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


def askToInstall(installer: Installer, parent: Any) -> Consent | None:
    """Ask whether to install the environment, and from where; None for no. Raises ProblemError: there is no place."""
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


def askWhere(parent: Any, name: str, kind: str) -> Path | None:
    """Where to save a file of a kind; None when the user does not want to. The folder is remembered.

    Args:
        parent: Widget.
        name: Suggested; what follows its first point is the suffix that the file gets.
        kind: For people.
    """
    suffix = name[name.index(".") :]
    suggested, kinds = str(Path(lastFolder()) / name), f"{kind} (*{suffix})"
    path = str(qt.QFileDialog.getSaveFileName(parent, kind, suggested, kinds))
    if not path:
        return None
    rememberFolder(str(Path(path).parent))
    if path.lower().endswith(suffix):
        return Path(path)
    # The dialog asked whether the name without the suffix may be replaced.
    completed = Path(path + suffix)
    question = _("{name} is there already. Replace it?").format(name=completed.name)
    return completed if not completed.exists() or confirm(question, parent) else None


def lastFolder() -> str:
    """The folder that was last exported to; the user's own at first."""
    return str(slicer.app.userSettings().value(_FOLDER) or Path.home())


def rememberFolder(folder: str) -> None:
    """Suggest this folder the next time."""
    slicer.app.userSettings().setValue(_FOLDER, folder)


class OverviewWindow:
    """Shows a page; one at a time.

    Args:
        parent: Widget whose window it belongs to.
        save: Called when the user wants to save the page, with the page (PNG).
    """

    def __init__(self, parent: Any, save: Callable[[bytes], None]) -> None:
        self._parent = parent
        self._save = save
        self.dialog: Any = None

    def show(self, title: str, picture: bytes) -> None:
        """Show a page (PNG)."""
        self.close()
        page = qt.QPixmap()
        page.loadFromData(qt.QByteArray(picture))
        width = min(page.width(), round(_SHARE * self._parent.window().width) - _BESIDE)
        image = qt.QLabel()
        image.pixmap = page.scaledToWidth(max(width, 1), qt.Qt.SmoothTransformation)
        save = qt.QPushButton(_("Save..."))
        save.clicked.connect(lambda *_checked: self._save(picture))
        self.dialog = qt.QDialog(self._parent.window())
        self.dialog.windowTitle = _("Overview")
        layout = qt.QVBoxLayout(self.dialog)
        for widget in (plainLabel(title), image, save):
            layout.addWidget(widget)
        self.dialog.show()

    def close(self) -> None:
        """Close it."""
        if self.dialog is not None:
            self.dialog.hide()
            self.dialog.deleteLater()
            self.dialog = None


class QuitGuard:
    """Asks when the main window is to be closed, before Slicer asks about the scene.

    Slicer has no hook for this in Python, but every way by which a user ends it closes its main window first. Scripts
    that end it (`slicer.util.exit`) are not asked, nor is anybody in Slicer's tests.

    Args:
        unfinished: Tells in a sentence what is under way; empty for nothing.
    """

    def __init__(self, unfinished: Callable[[], str]) -> None:
        self._window = slicer.util.mainWindow()
        self._filter = _CloseFilter(lambda: self._mayClose(unfinished()))
        if self._window is not None:
            self._window.installEventFilter(self._filter)
            slicer.app.connect("aboutToQuit()", self.remove)

    def remove(self) -> None:
        """Ask no more: the panel goes, or the window does."""
        window, self._window = self._window, None
        if window is not None:
            window.removeEventFilter(self._filter)
            slicer.app.disconnect("aboutToQuit()", self.remove)

    def _mayClose(self, unfinished: str) -> bool:
        if not unfinished or slicer.app.testingEnabled():
            return True
        return askToQuit(_("{unfinished} Quit Slicer all the same?").format(unfinished=unfinished), self._window)


class _CloseFilter(qt.QObject):
    """Sees the events of a window, and takes those that would close it away when it may not be closed."""

    def __init__(self, mayClose: Callable[[], bool]) -> None:
        super().__init__()
        self._mayClose = mayClose

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt; whether the event goes no further."""
        if event.type() != qt.QEvent.Close or self._mayClose():
            return False
        event.ignore()
        return True
