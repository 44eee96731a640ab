"""The module `qt`: PySide6 under the names and with the manners of PythonQt."""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Sequence
from typing import Any, ClassVar

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .process import QProcess

_FEATURE = "from __feature__ import true_property"


def make_module(custom_widgets: Sequence[type]) -> types.ModuleType:
    """The module.

    Args:
        custom_widgets: Classes that .ui files may name.
    """
    module = types.ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets):
        for name in dir(part):
            if name.startswith("Q"):
                setattr(module, name, getattr(part, name))

    def loader() -> Any:
        made = QtUiTools.QUiLoader()
        for widget in custom_widgets:
            made.registerCustomWidget(widget)
        return made

    module.QUiLoader = loader  # type: ignore[attr-defined]
    module.QProcess = QProcess  # type: ignore[attr-defined]
    module.QFileDialog = FileDialog  # type: ignore[attr-defined]
    module.QMessageBox = MessageBox  # type: ignore[attr-defined]
    # PythonQt: "name" is the object's name.
    QtCore.QObject.name = property(lambda self: self.objectName())  # type: ignore[attr-defined]
    _keep_none_alive()
    return module


def _keep_none_alive() -> None:
    """Let a log of any length be shown: PySide6 6.12 gives away a reference to None with each call of this method.

    After some ten thousand lines none was left, and Python ended.
    """
    append = QtWidgets.QPlainTextEdit.appendPlainText

    def appending(view: QtWidgets.QPlainTextEdit, text: str) -> None:
        append(view, text)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))

    QtWidgets.QPlainTextEdit.appendPlainText = appending  # type: ignore[method-assign]


class MessageBox:
    """Questions that are answered with the next of the prepared answers: the text of the button that is clicked."""

    AcceptRole, RejectRole = QtWidgets.QMessageBox.ButtonRole.AcceptRole, QtWidgets.QMessageBox.ButtonRole.RejectRole
    answers: ClassVar[list[str]] = []
    asked: ClassVar[list[str]] = []

    def __init__(self, parent: Any = None) -> None:
        self._buttons: list[str] = []
        self._text, self._plain = "", False

    def setWindowTitle(self, title: str) -> None:
        """Nobody sees it."""

    def setTextFormat(self, kind: Any) -> None:
        """Remember whether tags in the text are shown as they are."""
        self._plain = kind == QtCore.Qt.TextFormat.PlainText

    def setText(self, text: str) -> None:
        """What is asked; it may hold anything, so that it has to be plain."""
        assert self._plain
        self._text = text

    def addButton(self, text: str, role: Any) -> str:
        """Add an answer."""
        self._buttons.append(text)
        return text

    def exec_(self) -> None:
        """Ask."""
        self.asked.append(self._text)
        assert self.answers[0] in self._buttons, f"{self._text}: {self.answers[0]} is none of {self._buttons}"

    def clickedButton(self) -> str:
        """The answer."""
        return self.answers.pop(0)


class FileDialog:
    """File dialogs that give the next of the prepared answers, as a text; an empty one is "Cancel"."""

    answers: ClassVar[list[str]] = []

    suggested: ClassVar[list[str]] = []

    @classmethod
    def getSaveFileName(cls, parent: Any, title: str, name: str, kinds: str) -> str:
        """The next answer; what was suggested is remembered."""
        cls.suggested.append(name)
        return cls.answers.pop(0)

    @classmethod
    def getOpenFileName(cls, parent: Any, title: str, folder: str, kinds: str) -> str:
        """The next answer."""
        return cls.answers.pop(0)

    @classmethod
    def getExistingDirectory(cls, parent: Any, title: str, folder: str = "") -> str:
        """The next answer."""
        return cls.answers.pop(0)


class PropertiesAsAttributes(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the modules of these packages see Qt's properties as attributes that cannot be called, as PythonQt does."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages
        self._loaders: dict[str, Any] = {}

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Find the module as usual, and load it differently."""
        if name.split(".")[0] not in self._packages:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            self._loaders[name] = spec.loader
            spec.loader = self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Switch the feature on in the module, then run it."""
        show_properties(module)
        self._loaders[module.__name__].exec_module(module)


def show_properties(module: types.ModuleType) -> None:
    """Let a module see Qt's properties as attributes."""
    exec(_FEATURE, module.__dict__)


def application() -> Any:
    """The Qt application, made once."""
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
