"""The module `slicer.ScriptedLoadableModule`: the base classes of module, widget, logic and test."""

from __future__ import annotations

import types
import unittest
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtWidgets import QVBoxLayout

from .mrml_widgets import qMRMLWidget


class ScriptedLoadableModule:
    """What the application knows of a module."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent or qMRMLWidget()
        if parent is None:
            self.parent.setLayout(QVBoxLayout())
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()

    def setup(self) -> None:
        """Add the widgets that developers see: none here."""

    def resourcePath(self, name: str) -> str:
        """A file beside the module, whether it exists or not."""
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)

    def cleanup(self) -> None:
        """Called before the panel goes."""


class ScriptedLoadableModuleLogic:
    """What a module does."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        """The module's parameter node in the scene, made on first use."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Tests that Slicer runs."""

    def runTest(self) -> None:
        """Overridden."""


def make_module() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    for kind in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(module, kind.__name__, kind)
    return module
