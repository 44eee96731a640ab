"""Takes a scan from the scene to its results in the scene, through the worker, without ever blocking the application.

A run is: write the scan into a private folder, let the worker examine it, read the results, add them to the scene.
Nodes are held by their IDs, for they may go meanwhile. However a run ends, its folder is gone and the scene holds all
results or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import slicer

from conddiffusion_uad.protocol.events import encode
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.DetectionOutput import readDetectionOutput, readingSteps
from CondDiffusionUADLib.run.DetectionRun import Outcome, Run, RunListener, Settings
from CondDiffusionUADLib.run.Folders import PrivateFolder
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.Readiness import NEEDS_NEW_PROCESS, Devices, Readiness
from CondDiffusionUADLib.run.Steps import Steps
from CondDiffusionUADLib.run.WorkerProcess import Launch, Log, WorkerProcess
from CondDiffusionUADLib.scene.InputVolume import checkScan, writingSteps
from CondDiffusionUADLib.scene.Nodes import DetectionNodes
from CondDiffusionUADLib.scene.Scene import Logics, addDetection

SCAN_FILE = "scan.nrrd"  # the name of a scan often names a patient


class DetectionLogic:
    """Runs detections, one at a time.

    Args:
        scene: The MRML scene.
        logics: Of Slicer's modules.
        launch: Tells how to start the worker.
        temporary: Tells the folder for temporary files.

    Attributes:
        log: What the worker logged, all runs together.
    """

    def __init__(
        self, scene: Any, logics: Logics, launch: Callable[[], Launch], temporary: Callable[[], str | Path]
    ) -> None:
        self._scene = scene
        self._logics = logics
        self._launch = launch
        self._temporary = temporary
        self._run: Run | None = None
        self._number = 0
        self._sending = False
        self.log = Log()
        self._worker = WorkerProcess(launch, self)
        self._readiness = Readiness(self._worker)
        self._steps = Steps()
        self._observers = [
            scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClosing),
            scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved),
        ]

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    @property
    def workerProcessId(self) -> int:
        """The number of the worker's process; 0 when there is none."""
        return self._worker.processId

    @property
    def workerMegabytes(self) -> int | None:
        """The memory that the worker held when it was ready; None when it is not there or not ready."""
        return self._readiness.megabytes

    def start(self, inputNode: Any, settings: Settings, listener: RunListener) -> None:
        """Begin to examine a scan; the listener is told how it goes.

        Raises:
            ProblemError: Nothing was begun: another run is under way, the volume or an option is not acceptable, the
                engine's environment is not installed, or there is no room for temporary files.
        """
        if self._run is not None:
            raise ProblemError(Problems.busy())
        checkScan(inputNode)
        settings.job(Path(SCAN_FILE), Path("output"))
        self._launch()  # raises when there is no environment
        try:
            folder = PrivateFolder(self._temporary())
        except OSError as error:
            raise ProblemError(Problems.fromError(error)) from error
        self._readiness.stay()
        self._number += 1
        self._run = Run(self._number, inputNode.GetID(), settings, listener, folder)
        listener.onStage("export")
        self._steps.run(writingSteps(inputNode, folder.path / SCAN_FILE), self._onWritten)

    def prepare(
        self, bundle: str, device: str, told: Callable[[Devices], None], unloaded: Callable[[], None] = lambda: None
    ) -> None:
        """Let the worker load what a run takes, so that the next one begins at once; nothing while there is a run.

        Args:
            bundle: Name or folder of the model.
            device: As in `Settings`.
            told: Receives what this computer can compute with, as `DeviceProbe` tells it, or why that is not known.
            unloaded: Called when the worker is gone, and with it what was loaded.
        """
        if self._run is None:
            self._readiness.prepare(bundle, device, told, unloaded)

    def cancel(self, reason: Problem | None = None) -> None:
        """Cancel the run that is under way; it ends within three seconds. The reason is what the user is told."""
        run = self._run
        if run is None or run.reason is not None:
            return
        run.reason = reason or Problems.canceled()
        if self._sending:
            self._worker.cancel(run.number)
        else:
            self._finish(problem=run.reason)

    def shutdown(self) -> None:
        """End run and worker and wait for it, at most three seconds: before the module or the application goes."""
        self._readiness.close()
        self._sending = False
        self._worker.stopAndWait()
        if self._run is not None:
            self._finish(problem=Problems.canceled())

    def release(self) -> None:
        """`shutdown`, and let go of the scene."""
        self.shutdown()
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._observers = []

    def renewWorker(self) -> None:
        """Let the next run start a new process: the environment is another one, or is to be removed."""
        if self._run is None:
            self._readiness.forget()
            self._worker.stopAndWait()
            self._readiness.unload()

    # What the worker tells; see `WorkerListener`.

    def onEvent(self, event: dict[str, Any]) -> None:
        """Pass on what belongs to the run, and that the worker is ready."""
        if self._readiness.hear(event):
            if self._run is None:
                self._readiness.rest()
            return
        run = self._run
        if run is None or event.get("id") != run.number or not self._sending:
            return
        kind = event["event"]
        if kind == "stage":
            run.listener.onStage(str(event.get("name", "")))
        elif kind == "progress":
            run.listener.onProgress(float(event["fraction"]), event.get("eta_s"))
        elif kind == "warning":
            problem = Problems.fromEvent(event)
            self.log.add(f"{problem.code}: {problem.text}")
            run.warnings.append((problem.message, problem.hint))
        elif kind in ("error", "done"):
            self._sending = False
            self._worker.settled()
            self._onAnswer(run, event)

    def onLog(self, line: str) -> None:
        """Keep the line and pass it on."""
        self.log.add(line)
        if self._run is not None:
            self._run.listener.onLog(line)

    def onEnded(self, started: bool, exitCode: int) -> None:
        """The worker is gone; if it owed an answer, the run fails."""
        problem = Problems.died(exitCode)
        self._readiness.ended(problem)
        run = self._run
        if run is None or not self._sending:
            return
        self._sending = False
        ended = problem if started else Problems.notStarted(self._launch().program)
        self._finish(problem=run.reason or ended)

    def _onWritten(self, error: Exception | None) -> None:
        run = self._run
        if run is None:
            return
        if error is not None:
            self._finish(problem=Problems.fromError(error))
            return
        job = run.settings.job(run.folder / SCAN_FILE, run.folder / "output")
        order = {"job": "detect", "id": run.number, **job.to_json()}
        self.log.add(encode({**order, "inputs": [SCAN_FILE], "output": "output", "bundle": Path(job.bundle).name}))
        try:
            self._worker.prepare()  # the end of one that was told to end is not the end of this run
            self._sending = True
            self._worker.send(order)
            if not self._readiness.loaded:  # libraries and weights come first
                run.listener.onStage("load")
        except (ProblemError, OSError) as failure:
            self._finish(problem=Problems.fromError(failure))

    def _onAnswer(self, run: Run, event: dict[str, Any]) -> None:
        if run.reason is not None:
            self._finish(problem=run.reason)
        elif event["event"] == "error":
            problem = Problems.fromEvent({**event, "message": str(event.get("message", "")).replace(SCAN_FILE, "scan")})
            if problem.code in NEEDS_NEW_PROCESS:
                self._worker.stop()
            self._finish(problem=problem)
        else:
            self._readiness.loaded = True
            run.listener.onStage("import")
            try:
                run.output = readDetectionOutput(run.folder / "output")
            except (OSError, ValueError) as error:
                self._finish(problem=Problems.fromError(error))
                return
            inputNode = self._scene.GetNodeByID(run.inputId)
            if inputNode is None:
                self._finish(problem=Problems.inputDeleted())
                return
            self._steps.run(readingSteps(run.output, inputNode, run.folder, run.volumes), self._onRead)

    def _onRead(self, error: Exception | None) -> None:
        run = self._run
        if run is None:
            return
        if error is not None:
            self._finish(problem=Problems.fromError(error))
        else:
            self._steps.run(self._addingSteps(run), self._onAdded)

    def _addingSteps(self, run: Run) -> Iterator[None]:
        """Add the results to the scene in one step, for they come all or not at all. Raises ValueError."""
        inputNode = self._scene.GetNodeByID(run.inputId)
        if inputNode is None or run.output is None:
            raise ProblemError(Problems.inputDeleted())
        run.nodes = addDetection(self._scene, self._logics, inputNode, run.output, run.volumes[0])
        yield

    def _onAdded(self, error: Exception | None) -> None:
        if self._run is not None:
            problem = Problems.fromError(error) if error is not None else None
            self._finish(nodes=self._run.nodes, problem=problem)

    def _finish(self, nodes: DetectionNodes | None = None, problem: Problem | None = None) -> None:
        """The one end of every run."""
        run, self._run = self._run, None
        if run is None:
            return
        self._steps.stop()
        self._sending = False
        run.private.remove()
        self._readiness.rest()
        if problem is not None:
            self.log.add(f"{problem.code}: {problem.text}")
        components = run.volumes[0].components if nodes is not None else None
        run.listener.onFinished(Outcome(nodes, problem, tuple(run.warnings), components))

    def _onSceneClosing(self, *_: Any) -> None:
        self.cancel(Problems.sceneClosed())

    def _onNodeRemoved(self, *_: Any) -> None:
        if self._run is not None and self._scene.GetNodeByID(self._run.inputId) is None:
            self.cancel(Problems.inputDeleted())
