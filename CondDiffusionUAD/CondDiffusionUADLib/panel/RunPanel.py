"""The part of the panel that starts a run, shows how it goes and says how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.DetectionLogic import DetectionLogic
from CondDiffusionUADLib.run.DetectionRun import Outcome, Settings
from CondDiffusionUADLib.run.Installing import Installing
from CondDiffusionUADLib.run.Problems import CANCELED, REFUSED, Problem, ProblemError

PROGRESS_STEPS = 1000


class RunPanel:
    """Button, progress, log and message. Listens to the run that it started.

    Args:
        ui: The widgets of the panel by name.
        logic: Runs detections.
        installer: Installs the engine's packages.
        request: The volume and the settings of a run; raises ProblemError.
        changed: Called when a run begins or ends.
        found: Receives the outcome of a run that gave results.
    """

    def __init__(
        self,
        ui: Any,
        logic: DetectionLogic,
        installer: Installing,
        request: Callable[[], tuple[Any, Settings]],
        changed: Callable[[], None],
        found: Callable[[Outcome], None],
    ) -> None:
        self._ui = ui
        self._logic = logic
        self._installer = installer
        self._request = request
        self._changed = changed
        self._found = found
        self._installing = False
        self._canceling = False
        self._accepting = False  # a scan that was refused
        self._stage = ""
        self.closed = False
        ui.detectButton.clicked.connect(self.detect)
        ui.cancelButton.clicked.connect(self.cancel)
        ui.anywayButton.clicked.connect(self.detectAnyway)
        ui.anywayButton.visible = False

    @property
    def busy(self) -> bool:
        """Whether a run of this panel is under way or being prepared."""
        return self._installing or self._logic.busy

    def detect(self, *_checked: Any) -> None:
        """What the button does: install what is missing, then examine the scan."""
        self._start(accepting=False)

    def detectAnyway(self, *_checked: Any) -> None:
        """Examine a scan that was refused."""
        self._start(accepting=True)

    def forgetRefusal(self) -> None:
        """Another scan or contrast is chosen: that one was not refused."""
        self._ui.anywayButton.visible = False

    def _start(self, *, accepting: bool) -> None:
        if self.busy:
            return
        self._accepting = accepting
        try:
            self._request()
        except ProblemError as error:
            self.show(error.problem.text)
            return
        if not self._installer.state().ready:
            if not slicer.util.confirmOkCancelDisplay(self._installer.question(), "CondDiffusionUAD"):
                self.show(Problems.declined().text)
                return
            self._installing = True
            self._begin(_("Preparing the installation"))
            self._installer.install(self)
            return
        self._installing = True
        self._begin("")
        self.onInstalled(None)

    def cancel(self, *_checked: Any) -> None:
        """What the cancel button does."""
        self._canceling = True
        self._ui.cancelButton.enabled = False
        self._showStage(_("Canceling"))
        if self._installing:
            self._installer.cancel()
        else:
            self._logic.cancel()

    def show(self, text: str) -> None:
        """Show a message below the button."""
        self._ui.messageLabel.text = text

    def close(self) -> None:
        """The panel goes: nothing is shown any more, and what is under way ends."""
        self.closed = True
        if self._installing:
            self._installer.stop()
        self._logic.shutdown()

    # How the run goes; see `RunListener`.

    def onStage(self, name: str) -> None:
        """Show the stage."""
        if not self.closed and not self._canceling:
            self._showStage(stageTitle(name))

    def onProgress(self, fraction: float, secondsLeft: float | None) -> None:
        """Show how much is done and how long it takes still."""
        if self.closed or self._canceling:
            return
        self._ui.progressBar.value = round(PROGRESS_STEPS * fraction)
        left = "" if secondsLeft is None or fraction >= 1 else remaining(secondsLeft)
        self._ui.stageLabel.text = f"{self._stage}, {fraction:.0%}{left}"

    def onLog(self, line: str) -> None:
        """Add to the log."""
        if not self.closed:
            self._ui.logView.appendPlainText(line)

    def onFinished(self, outcome: Outcome) -> None:
        """Say how it ended."""
        if self.closed:
            return
        self._end()
        warnings = [f"{message} {hint}".strip() for message, hint in outcome.warnings]
        if outcome.problem is not None:
            self.show(outcome.problem.text)
            self._ui.anywayButton.visible = outcome.problem.code == REFUSED
            if outcome.problem.code != CANCELED:
                self.onLog(f"{outcome.problem.code}: {outcome.problem.text}")
        else:
            self._found(outcome)
            self.show("\n".join([_("Done."), *warnings]))
        self._changed()

    # How an installation goes; see `InstallListener`.

    def onStep(self, text: str, fraction: float | None) -> None:
        """Show the step."""
        if not self.closed and not self._canceling:
            self._ui.progressBar.value = round(PROGRESS_STEPS * (fraction or 0.0))
            self._showStage(text)

    def onQuestion(self, text: str) -> bool:
        """Ask."""
        return bool(slicer.util.confirmOkCancelDisplay(text, "CondDiffusionUAD"))

    def onInstalled(self, problem: Problem | None) -> None:
        """Go on with the click."""
        if self.closed or not self._installing:
            return
        self._installing = False
        if problem is None:
            try:
                volume, settings = self._request()
                self._logic.start(volume, replace(settings, acceptAnyScan=self._accepting), self)
                return
            except ProblemError as error:
                problem = error.problem
        self._end()
        self.show(problem.text)
        self._changed()

    def _begin(self, stage: str) -> None:
        self._canceling = False
        self._ui.detectButton.enabled = False
        self._ui.cancelButton.enabled = True
        self._ui.anywayButton.visible = False
        self._ui.progressBar.value = 0
        self._ui.progressArea.visible = True
        self.show("")
        self._showStage(stage)
        self._changed()

    def _end(self) -> None:
        self._canceling = False
        self._ui.progressArea.visible = False

    def _showStage(self, title: str) -> None:
        self._stage = title
        self._ui.stageLabel.text = title


def remaining(seconds: float) -> str:
    """The remaining time for people, as the end of a sentence."""
    if seconds < 90:
        return _(", about {count} s left").format(count=max(1, round(seconds)))
    return _(", about {count} min left").format(count=math.ceil(seconds / 60))


def stageTitle(name: str) -> str:
    """What a stage of a run is called."""
    titles = {
        "export": _("Handing over the scan"),
        "read": _("Reading the scan"),
        "load": _("Loading the model"),
        "orient": _("Orienting"),
        "strip": _("Finding the brain"),
        "register": _("Registering to the atlas"),
        "bias": _("Correcting the bias field"),
        "normalize": _("Normalizing"),
        "resample": _("Resampling"),
        "check": _("Checking the scan"),
        "reconstruct": _("Reconstructing"),
        "score": _("Scoring"),
        "restore": _("Bringing the result back to the scan"),
        "findings": _("Collecting findings"),
        "report": _("Writing results"),
        "import": _("Loading the results"),
    }
    return titles.get(name, name)
