"""Makes the panel's choices in the real application: images of a volume, models, sensitivity, a scan that was moved.

    SLICER=~/Slicer/Slicer STUDY_ENVIRONMENT=/path/bin/python python Testing/studies/slicer_choices.py

STUDY_ENVIRONMENT names a Python with the engine's packages; STUDY_OUTPUT a folder for pictures. A fake worker stands in
for the detection, so that this takes no minutes; a model is imported by the engine itself.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import COUNTED, ROOT, SCAN, Session, is_inside_slicer, output_folder, run_in_slicer

HELPERS = ROOT / "Testing" / "helpers"


def make_scans(folder: Path) -> None:
    """What Slicer is to load; made outside of it, for its Python lacks the packages."""
    import numpy as np
    import SimpleITK as sitk
    from stored_scans.dicom_places import blocks

    blocks({"EchoTime": "20"}, {"EchoTime": "90"})(folder)
    sample = sitk.BinShrink(sitk.ReadImage(str(SCAN)), [4, 4, 4])  # nothing here looks at details
    sample = sitk.Cast(sample, sitk.sitkInt16)
    sitk.WriteImage(sample, str(folder / "small_T2.nii.gz"))
    frames = [sample, sitk.Cast(sitk.Cast(sample, sitk.sitkFloat32) / 2, sample.GetPixelID())]
    sitk.WriteImage(sitk.JoinSeries(frames), str(folder / "four.nii.gz"))
    sitk.WriteImage(sitk.Compose(frames), str(folder / "values.nrrd"))
    small = [sitk.Cast(frame, sitk.sitkUInt8) for frame in (sample, sample, sample)]
    sitk.WriteImage(sitk.Compose(small), str(folder / "color.nrrd"))
    shutil.copytree(ROOT / "Resources" / "Models" / "residual", folder / "Own model")
    np.testing.assert_equal(len(list((folder / "s").iterdir())), 32)


class Choices:
    """The steps, in their order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.folder = session.output
        self.ui: Any = None

    def open(self) -> str:
        """The panel, with a fake worker in the engine's place."""
        from CondDiffusionUADLib.run import Application, UserSettings
        from CondDiffusionUADLib.run.ChildProcess import Launch

        UserSettings.setEnvironmentPython(os.environ["STUDY_ENVIRONMENT"])
        report = json.dumps({"expected_findings": COUNTED})
        worker = (str(HELPERS / "fake_worker.py"), "several", report)
        Application.engineLaunch = lambda *_: Launch(os.environ["STUDY_ENVIRONMENT"], worker)
        self.session.open()
        self.ui = self.session.panel.ui
        return "open"

    def load(self, name: str) -> Any:
        """Load a file as a user does, and choose it."""
        node = self.session.slicer.util.loadVolume(str(self.folder / name))
        self.session.pump(seconds=0.5)
        self.ui.inputSelector.setCurrentNode(node)
        return node

    def take(self, node: Any, index: int, picture: str) -> str:
        """Choose an image of a volume."""
        self.ui.inputSelector.setCurrentNode(node)
        assert self.ui.imageBox.visible and not self.ui.detectButton.enabled
        self.session.picture(f"{picture}_asked")
        self.ui.imageBox.currentIndex = index
        self.session.pump(seconds=0.5)
        chosen = self.session.panel.input.volume
        assert chosen is not node and not self.ui.imageBox.visible
        self.session.picture(f"{picture}_chosen")
        return f"{chosen.GetName()}, {chosen.GetImageData().GetDimensions()}, {chosen.GetSpacing()}"

    def values(self) -> str:
        """A volume with two values in each voxel."""
        return self.take(self.load("values.nrrd"), 2, "values")

    def echoes(self) -> str:
        """A DICOM series of two echoes, as the module DICOM loads it."""
        from standin.dicom_database import DicomDatabase

        slicer = self.session.slicer
        slicer.dicomDatabase = DicomDatabase(self.folder / "s")
        try:
            whole = slicer.dicomDatabase.load(slicer.modules.volumes.logic(), "5: PD and T2")
        except AttributeError:
            return "not tried: this Slicer was built without a reader of DICOM"
        told = self.take(whole, 2, "echoes")
        assert "echo time 90 ms" in told and "(20, 24, 16)" in told, told
        return told

    def hints(self) -> str:
        """What cannot be examined, or was left out."""
        self.load("color.nrrd")
        told = [self.ui.imageHint.text]
        assert not self.ui.detectButton.enabled and "in color" in told[0], told
        self.session.picture("color")
        self.load("four.nii.gz")
        told.append(self.ui.imageHint.text)
        assert self.ui.detectButton.enabled and "holds 2 images" in told[1], told
        self.session.picture("first_of_two")
        return " | ".join(told)

    def detect(self) -> str:
        """A result whose model counted findings in healthy scans."""
        node = self.load("small_T2.nii.gz")
        self.session.pump(seconds=0.5)
        assert self.session.panel.input.volume is node
        self.ui.detectButton.click()
        self.session.pump(lambda: not self.session.panel.run.busy, 120)
        assert self.ui.expectedLabel.visible, self.ui.messageLabel.text
        self.session.picture("found")
        return f"{self.ui.messageLabel.text}; {self.ui.expectedLabel.text}"

    def slide(self) -> str:
        """The slider speaks of false findings; in the end nothing is left."""
        told = []
        for value in (250, 320, 400):
            self.ui.sensitivitySlider.value = value
            self.session.pump(seconds=0.5)
            told.append(self.ui.expectedLabel.text)
        self.ui.minVolumeBox.value = 90
        self.session.pump(seconds=0.5)
        assert "Nothing of 90 ml" in self.ui.messageLabel.text
        assert "none of 40 healthy scans" in self.ui.findingsLabel.text
        self.session.picture("nothing")
        self.ui.minVolumeBox.value = 0.05
        self.ui.sensitivitySlider.value = 200
        return " | ".join(told)

    def move(self) -> str:
        """The scan is moved away, and the result after it."""
        import vtk

        slicer = self.session.slicer
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 40)
        transform.SetMatrixTransformToParent(matrix)
        self.session.panel.input.volume.SetAndObserveTransformNodeID(transform.GetID())
        self.session.pump(seconds=0.5)
        assert self.ui.followButton.visible
        told = self.ui.findingsLabel.text
        self.session.picture("moved")
        self.ui.followButton.click()
        self.session.pump(seconds=0.5)
        assert not self.ui.followButton.visible and "moved" not in self.ui.findingsLabel.text
        self.session.picture("followed")
        return told

    def models(self) -> str:
        """A model is imported from a folder, and its card read."""
        from CondDiffusionUADLib.panel import Dialogs, SettingsPanel

        session = self.session
        session.answer = "Cancel"
        assert Dialogs.askForModel(session.slicer.util.mainWindow()) is None and "ZIP" in session.asked[-1]
        session.answer = ""
        SettingsPanel.askForModel = lambda parent: self.folder / "Own model"
        self.ui.importModelButton.click()
        session.pump(lambda: self.ui.importModelButton.enabled, 200)
        told = self.ui.messageLabel.text
        assert "is installed" in told and self.ui.bundleBox.currentText == "Own-model", told
        self.ui.scanSection.collapsed = False
        self.ui.cardButton.click()
        session.picture("card")
        return told


def inside() -> None:
    """The steps in Slicer."""
    session = Session()
    choices = Choices(session)
    for name in ("open", "values", "echoes", "hints", "detect", "slide", "move", "models"):
        session.step(name, getattr(choices, name))
    session.end()


def main() -> int:
    """Make the scans, and run the steps in a Slicer."""
    folder = output_folder()
    make_scans(folder)
    models = str(folder / "models")
    run = run_in_slicer(__file__, STUDY_OUTPUT=str(folder), CONDDIFFUSION_UAD_MODELS=models)
    if run is None:
        return 0
    lines = [line for line in run.stdout.splitlines() if line.startswith(("OK", "FAILED", "Traceback", " ", "Assert"))]
    print("\n".join(lines[-60:]), f"\nexit {run.returncode}; pictures in {folder}")
    return run.returncode


if __name__ == "__main__":
    if is_inside_slicer():
        inside()
    else:
        sys.exit(main())
