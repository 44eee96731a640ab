"""The part of the panel that starts a run, shows how it goes and says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Dialogs import Consent, askToInstall, confirm
from CondDiffusionUADLib.panel.Room import Sight
from CondDiffusionUADLib.panel.RunTexts import remaining, stageTitle, withWarnings
from CondDiffusionUADLib.panel.Widgets import setQuietly
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.DetectionLogic import DetectionLogic
from CondDiffusionUADLib.run.DetectionRun import Outcome, Settings
from CondDiffusionUADLib.run.Installer import Installer
from CondDiffusionUADLib.run.InstallTexts import InstallListener
from CondDiffusionUADLib.run.Problems import CANCELED, Problem, ProblemError

PROGRESS_STEPS = 1000
Done = Callable[[Problem | None], None]


class RunPanel:
    """Button, progress, log and message. Listens to the run or the installation that it started.

    Args:
        ui: The widgets of the panel by name.
        logic: Runs detections.
        installer: Sees to the environment that the engine runs in.
        request: The volume and the settings of a run; raises ProblemError.
        changed: Called when a run or an installation begins or ends.
        found: Receives the outcome of a run that gave results; returns in a sentence what was found.
    """

    def __init__(
        self,
        ui: Any,
        logic: DetectionLogic,
        installer: Installer,
        request: Callable[[], tuple[Any, Settings]],
        changed: Callable[[], None],
        found: Callable[[Outcome], str],
    ) -> None:
        self._ui = ui
        self._logic = logic
        self._installer = installer
        self._request = request
        self._changed = changed
        self._found = found
        self._installing: Done | None = None
        self._canceling = False
        self._accepting = False  # a scan that was refused
        self._stage = ""
        self._warnings: Sequence[tuple[str, str]] | None = None  # of the result that the message is about
        self._sight = Sight((ui.progressArea, ui.anywayButton, ui.messageLabel), beside=(ui.disclaimerLabel,))
        self.closed = False
        ui.detectButton.clicked.connect(self.detect)
        ui.detailsButton.toggled.connect(self._onDetails)
        ui.cancelButton.clicked.connect(self.cancel)
        ui.anywayButton.clicked.connect(self.detectAnyway)
        self.show("")

    @property
    def busy(self) -> bool:
        """Whether a run or an installation is under way."""
        return self._installing is not None or self._logic.busy

    @property
    def unfinished(self) -> str:
        """What is under way, in a sentence; empty for nothing."""
        if self._installing is not None:
            return _("The installation is not finished, and what it downloaded would be lost.")
        return _("The detection is not finished, and would end without a result.") if self._logic.busy else ""

    def detect(self, *_checked: Any) -> None:
        """What the button does: install what is missing, after asking, then examine the scan."""
        self._start(accepting=False)

    def detectAnyway(self, *_checked: Any) -> None:
        """Examine a scan that was refused."""
        self._start(accepting=True)

    def install(self, begin: Callable[[InstallListener], None], done: Done) -> None:
        """Install, check or repair the environment, with progress and a way to cancel; then call `done`."""
        self._installing = done
        self._begin(_("Preparing the installation"))
        begin(self)

    def cancel(self, *_checked: Any) -> None:
        """What the cancel button does."""
        self._canceling = True
        self._ui.cancelButton.enabled = False
        self._showStage(_("Canceling"))
        if self._installing is not None:
            self._installer.cancel()
        else:
            self._logic.cancel()

    def show(self, text: str, details: str = "") -> None:
        """Show a message below the button, and a button for its details if there are any; let it be seen."""
        self._write(text, details)
        if text:
            self._sight.ask()

    def _write(self, text: str, details: str) -> None:
        ui = self._ui
        self._warnings = None
        ui.messageLabel.text, ui.detailsLabel.text = text, details
        ui.messageLabel.visible, ui.detailsButton.visible = bool(text), bool(details)
        ui.anywayButton.visible = False
        setQuietly(ui.detailsButton, "checked", False)
        self._onDetails(False)

    def summarize(self, summary: str) -> None:
        """The findings are other ones now: what the message says about them follows."""
        if self.busy:
            return
        warnings = self._warnings
        self._write(*((summary, "") if warnings is None or not summary else withWarnings(summary, warnings)))
        self._warnings = warnings if summary else None

    def close(self) -> None:
        """The panel goes: nothing is shown any more, and what is under way ends."""
        self.closed = True
        self._sight.stop()
        self._installing = None
        self._installer.stop()
        self._logic.shutdown()

    def _start(self, *, accepting: bool) -> None:
        if self.busy:
            self.show(Problems.busy().text)
            return
        self._accepting = accepting
        try:
            self._request()
            if self._installer.state().ready:
                self._begin(stageTitle("export"))
                self._examine()
            else:
                self._askToInstall()
        except ProblemError as error:
            self.show(error.problem.text)

    def _askToInstall(self) -> None:
        """Install what is missing if the user agrees, then examine. Raises ProblemError."""
        consent = askToInstall(self._installer, self._ui.detectButton.window())
        if consent is None:
            self.show(Problems.declined().text)
        else:
            self.installOwn(consent, self._onInstalledForRun)

    def installOwn(self, consent: Consent, done: Done) -> None:
        """Make the module's own environment as the user agreed to; then call `done`."""
        self.install(lambda listener: self._installer.install(listener, consent.wheels), done)

    def _onInstalledForRun(self, problem: Problem | None) -> None:
        if problem is None:
            self._begin(stageTitle("export"))
            self._examine()

    def _examine(self) -> None:
        try:
            volume, settings = self._request()
            self._logic.start(volume, replace(settings, acceptAnyScan=self._accepting), self)
        except ProblemError as error:
            self._end()
            self.show(error.problem.text)
        self._changed()

    # How the run goes; see `RunListener`.

    def onStage(self, name: str) -> None:
        """Show the stage."""
        if not self.closed and not self._canceling:
            self._showStage(stageTitle(name))

    def onProgress(self, fraction: float, secondsLeft: float | None) -> None:
        """Show how much is done and how long it takes still."""
        if self.closed or self._canceling:
            return
        self._showFraction(fraction)
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
        if outcome.problem is not None:
            self._showProblem(outcome.problem)
            self._ui.anywayButton.visible = outcome.problem.acceptable
        else:
            summary = self._found(outcome)
            self._warnings = outcome.warnings
            self.summarize(summary)
            self._sight.ask(beside=True)
        self._changed()

    # How an installation goes; see `InstallListener`.

    def onStep(self, text: str, fraction: float | None) -> None:
        """Show what is being installed."""
        if not self.closed and not self._canceling:
            self._showStage(text)
            self._showFraction(fraction)

    def onQuestion(self, text: str) -> bool:
        """Ask the user."""
        return not self.closed and confirm(text, self._ui.detectButton.window())

    def onInstalled(self, problem: Problem | None) -> None:
        """Say how it ended, and go on."""
        done, self._installing = self._installing, None
        if self.closed or done is None:
            return
        if problem is None and self._canceling:
            problem = Problems.canceledTooLate()
        self._end()
        if problem is not None:
            self._showProblem(problem)
        done(problem)
        self._changed()

    def _showProblem(self, problem: Problem) -> None:
        self.show(problem.text)
        if problem.code != CANCELED:
            self.onLog(f"{problem.code}: {problem.text}")

    def _begin(self, stage: str) -> None:
        self._canceling = False
        self._ui.cancelButton.enabled = True
        self._showFraction(0.0)
        self._ui.progressArea.visible = True
        self.show("")
        self._showStage(stage)
        self._sight.ask()
        self._changed()

    def _end(self) -> None:
        self._canceling = False
        self._ui.progressArea.visible = False

    def _showStage(self, title: str) -> None:
        self._stage = title
        self._ui.stageLabel.text = title

    def _showFraction(self, fraction: float | None) -> None:
        """How much is done; None while nobody knows."""
        self._ui.progressBar.maximum = PROGRESS_STEPS if fraction is not None else 0
        self._ui.progressBar.value = round(PROGRESS_STEPS * (fraction or 0.0))

    def _onDetails(self, shown: bool) -> None:
        self._ui.detailsLabel.visible = bool(shown)
