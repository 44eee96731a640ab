"""Slicer's slice views, drawn to pictures without a window: its slice logic and its displayable managers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import numpy as np

if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import slicer
import vtk
from mrml_application import MrmlApplication
from vtk.util import numpy_support

VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}

MARGIN = 1.45  # of the field of view around the volumes

_NO_RENDERING = "This computer cannot draw without a window; on Linux, libegl1 and libgl1-mesa-dri are missing."

_MANAGERS = (
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
)


class SliceView:
    """One slice view. Make it before the nodes it shall show, as the application does: legends that are there already
    stay invisible to it.

    Args:
        mrml: The scene to look at.
        name: Red, Green or Yellow, as in Slicer.
        size: Width and height in pixels.
    """

    def __init__(self, mrml: MrmlApplication, name: str, size: tuple[int, int]) -> None:
        self._size = size
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(mrml.application)
        self.logic.SetMRMLScene(mrml.scene)
        # Layers above the third outlive their logic and then call it. In the application, it lives to the very end.
        for lasting in (self.logic, mrml.logics.colors):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(lasting))
        # The color legend asks the application which views show its volume.
        mrml.application.GetSliceLogics().AddItem(self.logic)
        self.slice_node = mrml.scene.GetNodeByID(f"vtkMRMLSliceNode{name}") or self.logic.AddSliceNode(name)
        self.logic.SetSliceNode(self.slice_node)
        self.slice_node.SetOrientation(VIEWS[name])
        self.composite_node = self.logic.GetSliceCompositeNode()
        self._window, renderer = self._make_window()
        self._managers = self._make_managers(mrml, renderer)

    def _make_window(self) -> tuple[Any, Any]:
        renderer = vtk.vtkRenderer()
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image = vtk.vtkActor2D()
        image.SetMapper(self._mapper)
        renderer.AddViewProp(image)
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(True)
        window.SetMultiSamples(0)
        window.SetSize(*self._size)
        window.AddRenderer(renderer)
        return window, renderer

    def _make_managers(self, mrml: MrmlApplication, renderer: Any) -> Any:
        # The displayable managers crash in a window that has no interactor.
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(mrml.application)
        for manager in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        managers = factory.InstantiateDisplayableManagers(renderer)
        managers.SetMRMLDisplayableNode(self.slice_node)
        return managers

    def look_at(self, ras: tuple[float, float, float]) -> None:
        """Fit the slice to the volumes, with room for the legend, and move it to a place, given in (R, A, S) mm."""
        self.slice_node.SetDimensions(*self._size, 1)
        self.logic.FitSliceToAll()
        width, height, depth = self.slice_node.GetFieldOfView()
        self.slice_node.SetFieldOfView(MARGIN * width, MARGIN * height, depth)
        self.slice_node.JumpSliceByOffsetting(*ras)

    def pixel_of(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """Row and column in the picture of a place in (R, A, S) mm."""
        matrix = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.slice_node.GetXYToRAS(), matrix)
        x, y, _, _ = matrix.MultiplyPoint((*ras, 1.0))
        return self._size[1] - 1 - round(y), round(x)

    def draw(self) -> None:
        """Draw what the view shows."""
        self.logic.UpdatePipeline()
        # The logic makes a new connection whenever the layers change.
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        self._window.Render()

    def picture(self) -> np.ndarray:
        """What the view shows: uint8, (height, width, 3)."""
        self.draw()
        capture = vtk.vtkWindowToImageFilter()
        capture.SetInput(self._window)
        capture.ReadFrontBufferOff()
        capture.Update()
        pixels = numpy_support.vtk_to_numpy(capture.GetOutput().GetPointData().GetScalars())
        width, height = self._size
        return pixels.reshape(height, width, -1)[::-1, :, :3].copy()

    def close(self) -> None:
        """Let go of the scene and the window, in the order that VTK survives."""
        self._managers.SetMRMLDisplayableNode(None)
        self._mapper.RemoveAllInputConnections(0)
        self.logic.GetMRMLApplicationLogic().GetSliceLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        self._interactor.SetRenderWindow(None)
        self._window.Finalize()
        slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(None)


def why_not_drawn() -> str:
    """Why this computer cannot draw slice views; empty when it can.

    Tried in a process of its own: VTK crashes where OpenGL is missing.
    """
    script = "import vtk; w = vtk.vtkRenderWindow(); w.SetOffScreenRendering(True); w.Render()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=120)
    return _NO_RENDERING if done.returncode else ""
