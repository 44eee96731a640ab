"""The part of the panel with the findings: sliders, table, decisions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from CondDiffusionUADLib.panel import Sensitivity
from CondDiffusionUADLib.panel.FindingsView import FindingsView, notices
from CondDiffusionUADLib.panel.Room import Sight
from CondDiffusionUADLib.panel.Widgets import quiet, setQuietly
from CondDiffusionUADLib.run.Application import dicomValue
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.run.Steps import Steps, timer
from CondDiffusionUADLib.scene.Components import Components
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, OPEN, REJECTED
from CondDiffusionUADLib.scene.Findings import Finding
from CondDiffusionUADLib.scene.Heatmap import SCORE_RANGE
from CondDiffusionUADLib.scene.InputVolume import seriesSlice
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, canFollow, followScan

SLIDER_STEPS = 100  # of the sensitivity slider, a unit of score
REST_MS = 150  # without a step, until a slider that is dragged is followed exactly
SURFACE_DELAY_MS = 300


class FindingsPanel:
    """Sensitivity, smallest finding, table and decisions of one detection.

    Args:
        ui: The widgets of the panel by name.
        segmentationsLogic: Slicer's segmentations logic.
        jump: Called with the center (R, A, S in the views) of a finding that was chosen.
        changed: Called with what is found now, in a sentence; empty when there is no detection.
    """

    def __init__(
        self,
        ui: Any,
        segmentationsLogic: Any,
        jump: Callable[[tuple[float, float, float]], None],
        changed: Callable[[str], None],
    ) -> None:
        self._ui = ui
        self._logic = segmentationsLogic
        self._jump = jump
        self._changed = changed
        self._live: LiveFindings | None = None
        self._problem = ""
        self._expected: ExpectedFindings | None = None  # in healthy scans, of the detection or of the chosen model
        self._promised = self._expected  # the same, but None where the scan is not scored as they were counted
        self._offered = (self._expected, self._promised)  # of the chosen model
        self._moved = False
        self._steps = Steps()
        self._rest = timer(self._follow)
        self._surfaces = timer(self._showSurfaces)
        self._table = FindingsView(ui.findingsTable, self._onChosen, self._sliceName)
        self._sight = Sight((ui.acceptButton,), beside=(ui.findingsTable,))
        self._button = slicer.qMRMLSegmentationShow3DButton()
        ui.threeDArea.layout().addWidget(self._button)
        ui.sensitivitySlider.minimum = round(SCORE_RANGE[0] * SLIDER_STEPS)
        ui.sensitivitySlider.valueChanged.connect(self._onSliders)
        ui.sensitivitySlider.sliderReleased.connect(self._follow)
        ui.minVolumeBox.valueChanged.connect(self._onSliders)
        for button, status in ((ui.acceptButton, ACCEPTED), (ui.rejectButton, REJECTED), (ui.reopenButton, OPEN)):
            button.clicked.connect(lambda *_checked, status=status: self._decide(status))
        ui.nextButton.clicked.connect(lambda *_checked: self._go(self._table.step(True)))
        ui.previousButton.clicked.connect(lambda *_checked: self._go(self._table.step(False)))
        ui.followButton.clicked.connect(self._onFollow)
        ui.undoButton.clicked.connect(lambda *_checked: self._takeBack(again=False))
        ui.redoButton.clicked.connect(lambda *_checked: self._takeBack(again=True))
        self.setDetection(None)

    @property
    def live(self) -> LiveFindings | None:
        """The findings that are shown; None when there are none, or while they are being linked."""
        return self._live

    @property
    def chosen(self) -> Finding | None:
        """The finding that is chosen in the table, or None."""
        return self._table.finding

    @property
    def threshold(self) -> float:
        """The score that the slider stands at."""
        return self._ui.sensitivitySlider.value / SLIDER_STEPS

    @property
    def healthyFlagged(self) -> float:
        """The fraction of healthy tissue that the slider allows to be flagged."""
        return float(10**-self.threshold)

    @property
    def minVolumeMl(self) -> float:
        """The smallest volume of a finding, ml."""
        return float(self._ui.minVolumeBox.value)

    def setDetection(self, nodes: DetectionNodes | None, components: Components | None = None) -> None:
        """Show a detection, or none. It is taken up in steps, without stopping the application.

        Args:
            nodes: Of the detection.
            components: Of its heatmap if they are known; then it is shown at once.
        """
        self._stop()
        self._live, self._problem = None, ""
        report = nodes.report.GetText() if nodes is not None and nodes.report is not None else ""
        self._expected, self._promised = Sensitivity.expectedIn(report or "") if nodes is not None else self._offered
        self._table.forget()
        self._button.setSegmentationNode(None)
        if nodes is None:
            self._refresh()
            return
        result: list[LiveFindings] = []
        steps = LiveFindings.openingSteps(self._logic, nodes, result, components)
        if components is None:
            self._ui.findingsLabel.text = _("Loading the findings...")
            self._ui.findingsLabel.visible = True
            self._steps.run(steps, lambda error: self._onOpened(result, error))
            return
        for _step in steps:
            pass
        self._onOpened(result, None)

    def offer(self, expected: ExpectedFindings | None, promised: ExpectedFindings | None) -> None:
        """Before there is a detection, say what the chosen model promises, and begin where it is usual to.

        Args:
            expected: Findings that it has in healthy scans of the chosen contrast; None when it does not know.
            promised: The same, or None where it would not score the scan as they were counted.
        """
        self._offered = (expected, promised)
        if self._live is None and not self._steps.busy:
            self._expected, self._promised = self._offered
            self._stand(self.threshold if self._moved else Sensitivity.usualThreshold(expected))

    def chooseFirst(self) -> None:
        """Choose the first finding, let the views jump to it, and let the keyboard be at the table."""
        self._table.forget()
        self._go(self._table.step(True))
        self._ui.findingsTable.setFocus()

    def close(self) -> None:
        """The panel goes."""
        self._stop()
        self._live = None
        self._button.setSegmentationNode(None)

    def enter(self) -> None:
        """The panel is shown: take over what was changed, and let the findings be decided about."""
        self.refresh()
        if self._live is not None and self._live.selection.findings:
            self._sight.ask(beside=True)

    def refresh(self) -> None:
        """Take over what was changed elsewhere: edits, threshold, transform."""
        if self._live is not None:
            chosen = self.chosen
            self._live.refresh()
            self._button.setSegmentationNode(self._live.nodes.segmentation)
            self._refresh()
            self._table.chooseAgain(chosen)
            self._enableDecisions()

    def _stop(self) -> None:
        for part in (self._steps, self._rest, self._surfaces, self._sight, self._table):
            part.stop()

    def _onOpened(self, result: list[LiveFindings], error: Exception | None) -> None:
        if error is not None and not isinstance(error, ProblemError):
            raise error
        self._problem = str(error) if error is not None else ""
        if result:
            self._live = result[0]
            self._button.setSegmentationNode(self._live.nodes.segmentation)
        self._refresh()

    def _refresh(self) -> None:
        """Show in the widgets what is in the scene."""
        live = self._live
        for widget in (self._ui.findingsTable, self._ui.editButton, self._button):
            widget.enabled = live is not None
        if live is not None:
            setQuietly(self._ui.minVolumeBox, "value", live.minVolumeMl)
        self._stand(live.threshold if live is not None else self.threshold)
        self._showFindings()

    def _stand(self, threshold: float) -> None:
        """Put the slider where it promises no more than the threshold does, and let it reach what is known."""
        slider, highest = self._ui.sensitivitySlider, max(threshold, Sensitivity.reach(self._expected))
        with quiet(slider):
            slider.maximum = math.ceil(round(highest * SLIDER_STEPS, 3))
            slider.value = math.ceil(round(threshold * SLIDER_STEPS, 3))
        self._showSensitivity()

    def _showSensitivity(self) -> None:
        ui, threshold = self._ui, self.threshold
        told = Sensitivity.falseFindings(self._promised, threshold, self.minVolumeMl)
        ui.sensitivityLabel.text = "" if told else Sensitivity.share(threshold)
        ui.expectedLabel.text, ui.expectedLabel.visible = told, bool(told)
        ui.expectedLabel.toolTip = ui.sensitivityLabel.toolTip = Sensitivity.explained(self._promised, threshold)

    def _onSliders(self, *_value: Any) -> None:
        self._showSensitivity()
        live = self._live
        if live is None:
            self._moved = True
            return
        if live.shownInThreeD:
            # Surfaces take longer than the slider may; they come back when it rests.
            live.showInThreeD(False)
            self._surfaces.start(SURFACE_DELAY_MS)
        elif self._surfaces.active:
            self._surfaces.start(SURFACE_DELAY_MS)
        if self._ui.sensitivitySlider.sliderDown:
            live.preview(self.threshold)
            self._rest.start(REST_MS)
        else:
            self._follow()

    def _follow(self) -> None:
        self._rest.stop()
        if self._live is not None:
            self._live.show(self.threshold, self.minVolumeMl)
            self._showFindings()

    def _showSurfaces(self) -> None:
        self._surfaces.stop()
        if self._live is not None:
            self._live.showInThreeD(True)

    def _showFindings(self) -> None:
        findings = self._live.selection.findings if self._live else ()
        self._table.show(findings)
        self._enableDecisions()
        told = notices(self._live, self._promised) if self._live else self._problem or _("No detection yet.")
        self._ui.findingsLabel.text, self._ui.findingsLabel.visible = told, bool(told)
        self._ui.followButton.visible = self._live is not None and canFollow(self._live.nodes)
        self._changed(self.summary)

    @property
    def summary(self) -> str:
        """What is found now, in a sentence; empty when there is no detection."""
        if self._live is None:
            return ""
        findings = self._live.selection.findings
        if findings:
            return Sensitivity.summary(findings)
        return Sensitivity.nothingFound(self.threshold, self.minVolumeMl, self._live.largestScore)

    def _onFollow(self, *_checked: Any) -> None:
        if self._live is not None:
            followScan(self._live.nodes)
            self.refresh()

    def _sliceName(self, number: int) -> str:
        return seriesSlice(self._live.nodes.input if self._live is not None else None, number, dicomValue)

    def _onChosen(self) -> None:
        self._enableDecisions()
        finding = self._table.finding
        if finding is not None:
            self._jump(finding.centerRas)

    def _go(self, finding: Finding | None) -> None:
        if finding is not None:
            self._table.choose(finding)
            self._onChosen()
            self._sight.ask()

    def _enableDecisions(self) -> None:
        finding, live, ui = self._table.finding, self._live, self._ui
        for button, status in ((ui.acceptButton, ACCEPTED), (ui.rejectButton, REJECTED), (ui.reopenButton, OPEN)):
            button.enabled = finding is not None and not finding.segment and finding.status != status
        ui.undoButton.enabled = live is not None and live.canUndo
        ui.redoButton.enabled = live is not None and live.canRedo
        several = live is not None and bool(live.selection.findings)
        ui.previousButton.enabled = ui.nextButton.enabled = several

    def _decide(self, status: str) -> None:
        finding = self._table.finding
        if finding is None or self._live is None:
            return
        self._live.decide(finding.number, status)
        self._showFindings()
        if status != OPEN and self._ui.advanceBox.checked:
            self._go(self._table.nextOpen())

    def _takeBack(self, *, again: bool) -> None:
        if self._live is not None:
            peak = self._live.redo() if again else self._live.undo()
            self._showFindings()
            self._go(self._live.find(peak))
