"""One detection run: how it is asked for, who is told about it, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import DetectionJob
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, ResultVolumes
from CondDiffusionUADLib.run.Folders import PrivateFolder
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.scene.Components import Components
from CondDiffusionUADLib.scene.Nodes import DetectionNodes


@dataclass(frozen=True)
class Settings:
    """How a scan is examined; the fields of `DetectionJob` that the user decides, as it explains them.

    Attributes:
        bundle: Folder of the model.
        contrast: "T1", "T2" or "FLAIR".
        device: "auto", "cpu", "mps", "cuda" or "cuda:N".
        levels: Noise levels; None for the model's own.
        healthyFlagged: Fraction of healthy tissue that may be flagged; None to go by findings.
        expectedFindings: False findings in a healthy brain; None for the usual number.
        minVolumeMl: Smallest volume of a finding, ml.
        skull: "on" (it is there), "off" (already stripped) or "auto".
        seed: Of the noise.
        uncertainty: Whether to tell how sure the score is, too.
        locationPrior: Whether to take something off where healthy brains are often marked.
        acceptAnyScan: Whether to go on with a scan that would be refused.
    """

    bundle: str
    contrast: str
    device: str = "auto"
    levels: tuple[int, ...] | None = None
    healthyFlagged: float | None = None
    expectedFindings: float | None = None
    minVolumeMl: float = 0.05
    skull: str = "auto"
    seed: int = 0
    uncertainty: bool = False
    locationPrior: bool = True
    acceptAnyScan: bool = False

    def job(self, scan: Path, output: Path) -> DetectionJob:
        """The job for the engine. Raises ProblemError when an option is not acceptable."""
        try:
            return DetectionJob(
                inputs=(str(scan),),
                output=str(output),
                bundle=self.bundle,
                contrast=self.contrast,
                device=self.device,
                levels=self.levels,
                healthy_flagged=self.healthyFlagged,
                expected_findings=self.expectedFindings,
                min_volume_ml=self.minVolumeMl,
                skull=self.skull,
                seed=self.seed,
                uncertainty=self.uncertainty,
                location_prior=self.locationPrior,
                accept_any_scan=self.acceptAnyScan,
            )
        except BadInput as failure:
            raise ProblemError(Problems.fromEvent(failure.event())) from failure


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with nodes, or with a problem.

    Attributes:
        nodes: The results in the scene.
        problem: Why there are none.
        warnings: Message and hint of each.
        components: Of the heatmap, so that nobody has to link them again.
    """

    nodes: DetectionNodes | None
    problem: Problem | None
    warnings: tuple[tuple[str, str], ...] = ()
    components: Components | None = None


class RunListener(Protocol):
    """Who is told how a run goes."""

    def onStage(self, name: str) -> None:
        """A stage began: one of `protocol.STAGES`, or "export" or "import"."""

    def onProgress(self, fraction: float, secondsLeft: float | None) -> None:
        """How much of the run is done (0..1)."""

    def onLog(self, line: str) -> None:
        """A line for the log."""

    def onFinished(self, outcome: Outcome) -> None:
        """The run is over."""


@dataclass
class Run:
    """The run that is under way."""

    number: int
    inputId: str
    settings: Settings
    listener: RunListener
    private: PrivateFolder
    reason: Problem | None = None  # why it is being canceled
    output: DetectionOutput | None = None
    warnings: list[tuple[str, str]] = field(default_factory=list)
    volumes: list[ResultVolumes] = field(default_factory=list)
    nodes: DetectionNodes | None = None

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.private.path
