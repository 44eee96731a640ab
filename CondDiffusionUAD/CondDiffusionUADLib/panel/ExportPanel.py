"""The parts of the panel that give something away: the exports, and the text for a bug report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Dialogs import OverviewWindow, askWhere, lastFolder, rememberFolder
from CondDiffusionUADLib.panel.Widgets import chosen, fill
from CondDiffusionUADLib.run.DetectionLogic import DetectionLogic
from CondDiffusionUADLib.run.Diagnostics import diagnostics
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.scene import Export
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, nodesOf, resultTitle
from CondDiffusionUADLib.scene.Scene import overviewOf

Write = Callable[[LiveFindings, Path], None]


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


class LogPanel:
    """The button below the log.

    Args:
        ui: The widgets of the panel by name.
        logic: Runs detections, and keeps what they logged.
        say: Shows a message.
    """

    def __init__(self, ui: Any, logic: DetectionLogic, say: Callable[[str], None]) -> None:
        self._ui = ui
        self._logic = logic
        self._say = say
        ui.diagnosticsButton.clicked.connect(self._onCopy)

    def _onCopy(self, *_checked: Any) -> None:
        """Put the text for a bug report into the clipboard."""
        app, ui = slicer.app, self._ui
        application = f"{app.applicationName} {app.applicationVersion} ({app.repositoryRevision})"
        device = f"{chosen(ui.deviceBox)}; {ui.deviceHint.text}"
        names = tuple(node.GetName() or "" for node in nodesOf(slicer.mrmlScene, "vtkMRMLVolumeNode"))
        message = f"{ui.messageLabel.text} {ui.detailsLabel.text}".strip()
        text = diagnostics(application, device, chosen(ui.bundleBox), message, self._logic.log.text(), names)
        app.clipboard().setText(text)
        self._say(_("The diagnostics are in the clipboard."))
