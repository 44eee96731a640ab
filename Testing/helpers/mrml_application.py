"""A MRML scene with Slicer's own logics, outside of the application (slicer-core)."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

if "slicer.i18n" not in sys.modules:  # slicer-core brings no translations; texts stay as they are
    slicer.i18n = sys.modules["slicer.i18n"] = types.ModuleType("slicer.i18n")
    slicer.i18n.tr = lambda text: text
    slicer.i18n.translate = lambda context, text: text

from CondDiffusionUADLib.scene.Scene import Logics


@dataclass(frozen=True)
class MrmlApplication:
    """What Slicer's application holds: the scene and the logics, wired to each other."""

    scene: Any
    application: Any
    logics: Logics
    terminologies: Any


def create_mrml_application(temporary: Path) -> MrmlApplication:
    """A new, empty scene that is ready for volumes, segmentations, tables and slice views.

    Args:
        temporary: An existing folder in which scenes are packed and unpacked.
    """
    scene = slicer.vtkMRMLScene()
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(temporary))
    data = slicer.vtkDataIOManager()
    data.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(data)
    application = slicer.vtkMRMLApplicationLogic()
    application.SetTemporaryPath(str(temporary))
    # slicer-core brings no color files; the color logic complains unless their folder is there.
    (temporary / "ColorFiles").mkdir(exist_ok=True)
    application.SetHomeDirectory(str(temporary))
    application.SetShareDirectory(".")
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetMRMLScene(scene)
    logics = Logics(
        slicer.vtkSlicerColorLogic(), slicer.vtkSlicerVolumesLogic(), slicer.vtkSlicerSegmentationsModuleLogic()
    )
    application.SetColorLogic(logics.colors)
    application.SetModuleLogic("Colors", logics.colors)
    for logic in (logics.colors, logics.volumes, logics.segmentations):
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    return MrmlApplication(scene, application, logics, slicer.vtkSlicerTerminologiesModuleLogic())


def load_volume(mrml: MrmlApplication, path: Path, name: str) -> Any:
    """Load a scan as a user of Slicer would. Raises OSError when it cannot be read."""
    node = mrml.logics.volumes.AddArchetypeVolume(str(path), name)
    if node is None:
        raise OSError(f"The volume {path} cannot be read.")
    return node


def save_scene(mrml: MrmlApplication, path: Path) -> None:
    """Save the scene as .mrb, replacing an earlier file. Raises OSError when it cannot be written."""
    path.unlink(missing_ok=True)
    if not mrml.scene.WriteToMRB(str(path)):
        raise OSError(f"The scene cannot be written to {path}.")


def load_scene(mrml: MrmlApplication, path: Path) -> None:
    """Replace the scene by one that was saved as .mrb. Raises OSError when it cannot be read."""
    if not mrml.scene.ReadFromMRB(str(path), True):
        raise OSError(f"The scene {path} cannot be read.")
