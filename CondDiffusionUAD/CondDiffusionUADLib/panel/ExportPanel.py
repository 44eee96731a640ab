"""The part of the panel that exports, and the window with the overview of a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Consent import confirm
from CondDiffusionUADLib.panel.Widgets import chosen, fill, plainLabel
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.scene import Export
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, resultTitle
from CondDiffusionUADLib.scene.Overview import overviewOf

_FOLDER = "CondDiffusionUAD/ExportFolder"
Write = Callable[[LiveFindings, Path], None]
_SHARE = 0.95  # of the width of Slicer's window, at most
_BESIDE = 60  # pixels that the frame and the margins take


class ExportPanel:
    """The export buttons.

    Args:
        ui: The widgets of the panel by name.
        live: The findings that are shown, or None.
        say: Shows a message.
    """

    def __init__(self, ui: Any, live: Callable[[], LiveFindings | None], say: Callable[[str], None]) -> None:
        self._ui = ui
        self._live = live
        self._say = say
        self._nodes: DetectionNodes | None = None
        scopes = [
            (_("Not rejected"), "notRejected"),
            (_("Accepted only"), "accepted"),
            (_("All"), "all"),
        ]
        fill(ui.scopeBox, scopes, "notRejected")
        for button, name, kind, write in (
            (ui.exportNiftiButton, "candidates.nii.gz", _("NIfTI, numbers of the findings"), self._writeSegmentation),
            (ui.exportNrrdButton, "candidates.seg.nrrd", _("Segmentation with terminology"), self._writeSegmentation),
            (ui.exportFindingsButton, "findings.csv", _("Table"), self._writeFindings),
            (ui.exportReportButton, "report.json", _("Report"), self._writeReport),
        ):
            button.clicked.connect(lambda *_c, name=name, kind=kind, write=write: self._save(name, kind, write))
        ui.exportDicomButton.clicked.connect(self._onDicom)
        ui.overviewButton.clicked.connect(self._onOverview)
        self._overview = OverviewWindow(ui.exportSection, self._saveOverview)

    def setDetection(self, nodes: DetectionNodes | None) -> None:
        """Another detection is shown, or none."""
        self._nodes = nodes
        self._overview.close()
        self._ui.exportSection.enabled = nodes is not None
        self._ui.overviewButton.enabled = nodes is not None and nodes.overview is not None

    def close(self) -> None:
        """The panel goes."""
        self._overview.close()

    def _writeSegmentation(self, live: LiveFindings, path: Path) -> None:
        Export.writeSegmentation(live, path, chosen(self._ui.scopeBox))

    def _writeFindings(self, live: LiveFindings, path: Path) -> None:
        Export.writeFindings(live, path, chosen(self._ui.scopeBox))

    def _writeReport(self, live: LiveFindings, path: Path) -> None:
        Export.writeReport(live, path)

    def _onOverview(self, *_checked: Any) -> None:
        page = overviewOf(self._nodes.overview) if self._nodes is not None else None
        if page is not None:
            self._overview.show(resultTitle(self._nodes), page)

    def _saveOverview(self, page: bytes) -> None:
        path = askWhere(self._ui.exportSection, "overview.png", _("Overview"))
        if path is not None:
            self._try(lambda: Export.writeOverview(page, path), path)

    def _onDicom(self, *_checked: Any) -> None:
        live = self._live()
        if live is None:
            return
        title = _("Choose a folder for the DICOM segmentation")
        folder = str(qt.QFileDialog.getExistingDirectory(self._ui.exportSection, title, lastFolder()))
        if folder:
            rememberFolder(folder)
            which = chosen(self._ui.scopeBox)
            self._try(lambda: Export.writeDicomSegmentation(live, Path(folder), which), Path(folder))

    def _save(self, name: str, kind: str, write: Write) -> None:
        live = self._live()
        path = askWhere(self._ui.exportSection, name, kind) if live is not None else None
        if live is not None and path is not None:
            self._try(lambda: write(live, path), path)

    def _try(self, export: Callable[[], None], path: Path) -> None:
        try:
            export()
        except ProblemError as error:
            self._say(error.problem.text)
        else:
            self._say(_("Exported to {path}").format(path=path))


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
