"""The part of the panel with the findings: sliders, table, decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.run.Steps import Steps
from CondDiffusionUADLib.scene.Components import Components
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, OPEN, REJECTED
from CondDiffusionUADLib.scene.Findings import Finding
from CondDiffusionUADLib.scene.Heatmap import SCORE_RANGE, scoreText
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes

MOST_ROWS = 200  # a table of thousands would make the slider stick
SLIDER_STEPS = 100  # of the sensitivity slider, a unit of score
SURFACE_DELAY_MS = 300
ROW_HEIGHT = 22


class FindingsPanel:
    """Sensitivity, smallest finding, table and decisions of one detection.

    Args:
        ui: The widgets of the panel by name.
        segmentationsLogic: Slicer's segmentations logic.
        jump: Called with the place (R, A, S) of a finding that was chosen.
    """

    def __init__(
        self, ui: Any, segmentationsLogic: Any, jump: Callable[[tuple[float, float, float]], None]
    ) -> None:
        self._ui = ui
        self._logic = segmentationsLogic
        self._jump = jump
        self._live: LiveFindings | None = None
        self._steps = Steps()
        self._surfaces = qt.QTimer()
        self._surfaces.timeout.connect(self._showSurfaces)
        self._setUpTable()
        ui.sensitivitySlider.minimum = round(SCORE_RANGE[0] * SLIDER_STEPS)
        ui.sensitivitySlider.maximum = round(SCORE_RANGE[1] * SLIDER_STEPS)
        ui.sensitivitySlider.valueChanged.connect(self._onSliders)
        ui.minVolumeBox.valueChanged.connect(self._onSliders)
        ui.threeDBox.toggled.connect(self._onThreeD)
        ui.findingsTable.itemSelectionChanged.connect(self._onSelected)
        ui.acceptButton.clicked.connect(lambda: self._decide(ACCEPTED))
        ui.rejectButton.clicked.connect(lambda: self._decide(REJECTED))
        ui.reopenButton.clicked.connect(lambda: self._decide(OPEN))
        self.setDetection(None)

    @property
    def live(self) -> LiveFindings | None:
        """The findings that are shown; None when there are none, or while they are being linked."""
        return self._live

    @property
    def healthyFlagged(self) -> float:
        """The fraction of healthy tissue that the slider allows to be flagged."""
        return 10 ** -(self._ui.sensitivitySlider.value / SLIDER_STEPS)

    @property
    def minVolumeMl(self) -> float:
        """The smallest volume of a finding, ml."""
        return float(self._ui.minVolumeBox.value)

    def setDetection(self, nodes: DetectionNodes | None, components: Components | None = None) -> None:
        """Show a detection, or none. Its voxels are linked first, without stopping the application, if need be."""
        self._steps.stop()
        self._surfaces.stop()
        self._live = None
        if nodes is None:
            self._refresh()
        elif components is not None:  # just found, so nothing takes long
            self._live = LiveFindings.fromScene(self._logic, nodes, components)
            self._refresh()
        else:
            result: list[LiveFindings] = []
            self._ui.findingsLabel.text = _("Loading the findings...")
            steps = LiveFindings.openingSteps(self._logic, nodes, result)
            self._steps.run(steps, lambda error: self._onOpened(result, error))

    def close(self) -> None:
        """The panel goes."""
        self._steps.stop()
        self._surfaces.stop()

    def refresh(self) -> None:
        """Show the threshold again: it may have been changed elsewhere."""
        if self._live is not None and self._live.refresh():
            self._refresh()

    def _onOpened(self, result: list[LiveFindings], error: Exception | None) -> None:
        if error is None:
            self._live = result[0]
        self._refresh()
        if isinstance(error, ProblemError):
            self._ui.findingsLabel.text = error.problem.text

    def _setUpTable(self) -> None:
        titles = (_("No."), _("Volume (ml)"), _("Peak"), _("Mean"), _("R, A, S (mm)"), _("Status"))
        table = self._ui.findingsTable
        table.columnCount = len(titles)
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.stretchLastSection = True

    def _refresh(self) -> None:
        """Show in the widgets what is in the scene."""
        live = self._live
        for widget in (self._ui.threeDBox, self._ui.findingsTable):
            widget.enabled = live is not None
        if live is not None:
            for widget, value in (
                (self._ui.sensitivitySlider, round(live.threshold * SLIDER_STEPS)),
                (self._ui.minVolumeBox, live.minVolumeMl),
            ):
                blocked = widget.blockSignals(True)
                widget.value = value
                widget.blockSignals(blocked)
            blocked = self._ui.threeDBox.blockSignals(True)
            self._ui.threeDBox.checked = live.shownInThreeD
            self._ui.threeDBox.blockSignals(blocked)
        self._showSensitivity()
        self._fillTable()

    def _showSensitivity(self) -> None:
        percent = 100 * self.healthyFlagged
        self._ui.sensitivityLabel.text = _("healthy tissue flagged: {percent} %").format(percent=f"{percent:.3g}")

    def _onSliders(self, *_value: Any) -> None:
        self._showSensitivity()
        live = self._live
        if live is None:
            return
        if live.shownInThreeD:
            # Surfaces take longer than the slider may; they come back when it rests.
            live.showInThreeD(False)
            self._surfaces.start(SURFACE_DELAY_MS)
        elif self._surfaces.active:
            self._surfaces.start(SURFACE_DELAY_MS)
        live.show(self._ui.sensitivitySlider.value / SLIDER_STEPS, self.minVolumeMl)
        self._fillTable()

    def _showSurfaces(self) -> None:
        self._surfaces.stop()
        if self._live is not None:
            self._live.showInThreeD(self._ui.threeDBox.checked)

    def _onThreeD(self, shown: bool) -> None:
        self._surfaces.stop()
        if self._live is not None:
            self._live.showInThreeD(bool(shown))

    def _fillTable(self) -> None:
        findings = self._live.selection.findings if self._live else ()
        table = self._ui.findingsTable
        blocked = table.blockSignals(True)
        table.rowCount = 0
        table.rowCount = min(len(findings), MOST_ROWS)
        for row, finding in enumerate(findings[:MOST_ROWS]):
            for column, text in enumerate(_cells(finding)):
                item = qt.QTableWidgetItem(text)
                if column < 4:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)
        table.blockSignals(blocked)
        self._enableDecisions()
        self._ui.findingsLabel.text = self._summary(findings)

    def _summary(self, findings: tuple[Finding, ...]) -> str:
        if self._live is None:
            return _("No detection yet.")
        if not findings:
            return _("Nothing was found at this sensitivity. That does not mean that the brain is healthy.")
        kept = [finding.volumeMl for finding in findings if finding.status != REJECTED]
        text = _("Findings: {count}, rejected: {rejected}. Volume without the rejected ones: {volume} ml.").format(
            count=len(findings), rejected=len(findings) - len(kept), volume=f"{sum(kept):.2f}"
        )
        if len(findings) > MOST_ROWS:
            text += " " + _("The table shows the first {count}.").format(count=MOST_ROWS)
        return text

    def _selected(self) -> Finding | None:
        row = self._ui.findingsTable.currentRow()
        findings = self._live.selection.findings if self._live else ()
        chosen = self._ui.findingsTable.selectedItems()
        return findings[row] if chosen and 0 <= row < len(findings) else None

    def _onSelected(self) -> None:
        self._enableDecisions()
        finding = self._selected()
        if finding is not None and self._live is not None:
            self._jump(finding.centerRas)

    def _enableDecisions(self) -> None:
        finding = self._selected()
        self._ui.acceptButton.enabled = finding is not None and finding.status != ACCEPTED
        self._ui.rejectButton.enabled = finding is not None and finding.status != REJECTED
        self._ui.reopenButton.enabled = finding is not None and finding.status != OPEN

    def _decide(self, status: str) -> None:
        finding = self._selected()
        if finding is not None and self._live is not None:
            self._live.decide(finding.number, status)
            self._fillTable()
            table = self._ui.findingsTable
            blocked = table.blockSignals(True)
            table.selectRow(finding.number - 1)
            table.blockSignals(blocked)
            self._enableDecisions()


def _cells(finding: Finding) -> tuple[str, ...]:
    status = {OPEN: "", ACCEPTED: _("accepted"), REJECTED: _("rejected")}[finding.status]
    return (
        str(finding.number),
        f"{finding.volumeMl:.2f}",
        scoreText(finding.peakScore),
        scoreText(finding.meanScore),
        ", ".join(f"{coordinate:.0f}" for coordinate in finding.centerRas),
        status,
    )
