"""The part of the panel that exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.scene import Export
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings

_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".csv", ".json")


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
        ui.exportSegmentationButton.clicked.connect(self._onSegmentation)
        ui.exportDicomButton.clicked.connect(self._onDicom)
        ui.exportFindingsButton.clicked.connect(self._onFindings)
        ui.exportReportButton.clicked.connect(self._onReport)

    def _onSegmentation(self, *_checked: Any) -> None:
        kinds = _("NIfTI, numbers of the findings (*.nii.gz);;NRRD, segmentation with terminology (*.seg.nrrd)")
        self._save(_("Export the segmentation"), "candidates.nii.gz", kinds, Export.writeSegmentation)

    def _onFindings(self, *_checked: Any) -> None:
        self._save(_("Export the findings"), "findings.csv", _("Table (*.csv)"), Export.writeFindings)

    def _onReport(self, *_checked: Any) -> None:
        self._save(_("Export the report"), "report.json", _("Report (*.json)"), Export.writeReport)

    def _onDicom(self, *_checked: Any) -> None:
        live = self._live()
        if live is None:
            return
        title = _("Choose a folder for the DICOM segmentation")
        folder = str(qt.QFileDialog.getExistingDirectory(self._ui.exportSection, title))
        if folder:
            self._try(lambda: Export.writeDicomSegmentation(live, Path(folder)), folder)

    def _save(self, title: str, name: str, kinds: str, write: Callable[[LiveFindings, Path], None]) -> None:
        live = self._live()
        if live is None:
            return
        path = str(qt.QFileDialog.getSaveFileName(self._ui.exportSection, title, name, kinds))
        if path:
            if not path.lower().endswith(_SUFFIXES):
                path += name[name.index(".") :]
            self._try(lambda: write(live, Path(path)), path)

    def _try(self, export: Callable[[], None], path: str) -> None:
        try:
            export()
        except ProblemError as error:
            self._say(error.problem.text)
        else:
            self._say(_("Exported to {path}.").format(path=path))
