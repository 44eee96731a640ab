"""The one detection logic of the application, wired to Slicer; detection from Python; what "Reload and Test" tries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from conddiffusion_uad.protocol.bundle_folders import present_name
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.Bundles import FAST, FULL, BundleInfo, installedBundles, readBundle
from CondDiffusionUADLib.run.DetectionLogic import DetectionLogic
from CondDiffusionUADLib.run.DetectionRun import Outcome, RunListener, Settings
from CondDiffusionUADLib.run.EngineLaunch import engineLaunch
from CondDiffusionUADLib.run.Folders import resource
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.scene.Heatmap import HIGHEST_THRESHOLD, SCORE_RANGE
from CondDiffusionUADLib.scene.Images import Image, imagesIn, mixedFrames, whyNoScan
from CondDiffusionUADLib.scene.InputVolume import guessContrast
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections
from CondDiffusionUADLib.scene.Scene import Logics

_logic: DetectionLogic | None = None


def detectionLogic() -> DetectionLogic:
    """The application's detection logic, made on first use; it ends with the application."""
    global _logic
    if _logic is None:
        _logic = DetectionLogic(slicer.mrmlScene, moduleLogics(), lambda: engineLaunch("worker"), temporaryFolder)
        slicer.app.connect("aboutToQuit()", _logic.shutdown)
    return _logic


def releaseLogic() -> None:
    """End the detection logic: before the module is loaded anew."""
    global _logic
    if _logic is not None:
        slicer.app.disconnect("aboutToQuit()", _logic.shutdown)
        _logic.release()
        _logic = None


def renewWorker() -> None:
    """End the worker, if there is one and it has nothing to do: what it runs in is to be replaced or removed."""
    if _logic is not None:
        _logic.renewWorker()


def moduleLogics() -> Logics:
    """The logics of Slicer's modules."""
    modules = slicer.modules
    return Logics(modules.colors.logic(), modules.volumes.logic(), modules.segmentations.logic())


def temporaryFolder() -> str:
    """Slicer's folder for temporary files."""
    return str(slicer.app.temporaryPath)


def dicomValue(instance: str, tag: str) -> str:
    """The value of a tag of an instance in Slicer's DICOM database; empty when there is none."""
    database = _database()
    return str(database.instanceValue(instance, tag) or "") if database is not None else ""


def dicomFile(instance: str) -> str:
    """The file of an instance in Slicer's DICOM database; empty when there is none."""
    database = _database()
    return str(database.fileForInstance(instance) or "") if database is not None else ""


def imagesOf(volumeNode: Any) -> tuple[Image, ...]:
    """The images that a volume holds, of which one is to be chosen; empty when it is one."""
    return imagesIn(volumeNode, dicomValue, dicomFile)


def whyNotExamined(volumeNode: Any) -> str:
    """Why no image in a volume can be examined, and what to do; empty when one can."""
    return whyNoScan(volumeNode) or mixedFrames(volumeNode, dicomValue, dicomFile)


def _database() -> Any:
    database = getattr(slicer, "dicomDatabase", None)
    return database if database and database.isOpen else None


def chooseBundle(name: str) -> BundleInfo:
    """The bundle of that name or in that folder; the usual one when the name is empty. Raises ProblemError."""
    name = present_name(name)
    bundles = installedBundles()
    for bundle in bundles:
        if name in ("", bundle.name, str(bundle.folder)):
            return bundle
    other = readBundle(Path(name)) if name else None
    if other is None:
        raise ProblemError(Problems.noBundle() if not bundles else Problems.unknownBundle(name))
    return other


def detect(
    volumeNode: Any, *, wait: bool = True, listener: RunListener | None = None, **options: Any
) -> DetectionNodes | None:
    """Look for anomalies in a scan, without any dialog.

    Args:
        volumeNode: The scan, in the scene.
        wait: Return when it is done; else at once, and the listener is told.
        listener: Is told how it goes.
        options: Those of `settingsFor`.

    Returns:
        The nodes with the results; None when not waiting.

    Raises:
        ProblemError: There is no result; it says why and what to do. Packages are never installed from here: the
            panel's button does that, after asking.
    """
    settings = settingsFor(volumeNode, **options)
    waiter = _Waiter(listener)
    detectionLogic().start(volumeNode, settings, waiter)
    if not wait:
        return None
    outcome = waiter.outcome()
    if outcome.problem is not None:
        raise ProblemError(outcome.problem)
    return outcome.nodes


def settingsFor(
    volumeNode: Any,
    *,
    contrast: str = "auto",
    bundle: str = "",
    quality: str = FULL,
    healthyFlagged: float | None = None,
    **others: Any,
) -> Settings:
    """The settings of a run from what a user says.

    Args:
        volumeNode: The scan.
        contrast: "T1", "T2", "FLAIR", or "auto" to take what its DICOM tags or its name tell.
        bundle: Name or folder of a model; empty for the usual one.
        quality: "full", or "fast" for one noise level only.
        healthyFlagged: Fraction of healthy tissue that may be flagged, 1e-10 to 0.1; None to go by `expectedFindings`.
        others: Further fields of `Settings`: device, expectedFindings, minVolumeMl, skull, seed, uncertainty,
            locationPrior, acceptAnyScan.

    Raises:
        ProblemError: An option or the volume is not acceptable.
    """
    lowest, highest = (10**-score for score in (HIGHEST_THRESHOLD, SCORE_RANGE[0]))
    if healthyFlagged is not None and not lowest * 0.999 <= healthyFlagged <= highest * 1.001:
        message = f"healthyFlagged cannot be {healthyFlagged!r}."
        raise ProblemError(Problem("bad_option", message, f"Accepted: {lowest:g} to {highest:g}."))
    images = imagesOf(volumeNode)
    if images and not images[0].alone:
        raise ProblemError(Problems.severalImages([image.title for image in images]))
    if reason := whyNotExamined(volumeNode):
        raise ProblemError(Problem("no_scan", reason))
    info = chooseBundle(bundle)
    if contrast == "auto":
        guess = guessContrast(volumeNode, dicomValue)
        if guess is None:
            raise ProblemError(Problems.contrastUnknown())
        contrast = guess[0]
    levels = info.levelsFor(quality)
    return Settings(str(info.folder), contrast, levels=levels, healthyFlagged=healthyFlagged, **others)


class _Waiter:
    """Passes on how a run goes, and waits for its end while the application stays alive."""

    def __init__(self, listener: RunListener | None) -> None:
        self._listener = listener
        self._outcome: Outcome | None = None
        self._loop: Any = None

    def outcome(self) -> Outcome:
        """Wait for the end."""
        while self._outcome is None:
            self._loop = qt.QEventLoop()
            self._loop.exec()
        return self._outcome

    def onStage(self, name: str) -> None:
        """Pass on."""
        if self._listener:
            self._listener.onStage(name)

    def onProgress(self, fraction: float, secondsLeft: float | None) -> None:
        """Pass on."""
        if self._listener:
            self._listener.onProgress(fraction, secondsLeft)

    def onLog(self, line: str) -> None:
        """Pass on."""
        if self._listener:
            self._listener.onLog(line)

    def onFinished(self, outcome: Outcome) -> None:
        """Pass on, and end the waiting."""
        self._outcome = outcome
        if self._listener:
            self._listener.onFinished(outcome)
        if self._loop is not None:
            self._loop.quit()


_NOT_INSTALLED = ("not_installed", "torch_missing", "package_missing")


def selfTest(logic: Any) -> None:
    """Detect anomalies in the shipped scan; where the packages are not installed, that has to be said.

    Args:
        logic: The module's logic.

    Raises:
        AssertionError: Something does not work.
    """
    scan = slicer.util.loadVolume(str(resource("SampleData/synthetic_T2_brain.nii.gz")), {"name": "Synthetic_T2_brain"})
    nodesBefore = slicer.mrmlScene.GetNumberOfNodes()
    try:
        nodes = logic.detect(scan, quality=FAST)
    except ProblemError as error:
        assert error.problem.code in _NOT_INSTALLED, error.problem.text
        assert slicer.mrmlScene.GetNumberOfNodes() == nodesBefore, "a failed run has to leave the scene alone"
        return
    assert findDetections(slicer.mrmlScene) == [nodes]
    assert nodes.findings.GetNumberOfRows() > 0, "the lesion of the synthetic scan was not found"
