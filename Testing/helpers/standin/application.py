"""`slicer.app`, `slicer.modules`, `slicer.mrmlScene` and the Python modules of Slicer: put in place, and taken out."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from mrml_application import MrmlApplication
from PySide6.QtCore import QProcessEnvironment, QSettings

from . import ctk_module, mrml_widgets, parameter_node, qt_module, scripted_module

MODULE_FILE = Path(__file__).resolve().parents[3] / "CondDiffusionUAD" / "CondDiffusionUAD.py"
_MRML_WIDGETS = (
    mrml_widgets.qMRMLWidget,
    mrml_widgets.qMRMLNodeComboBox,
    mrml_widgets.qMRMLSegmentationShow3DButton,
)
_WIDGETS = (*_MRML_WIDGETS, ctk_module.ctkCollapsibleButton)


class Application:
    """`slicer.app`: signals by signature, folders, versions, settings. No main window and no layout manager."""

    applicationName = "Slicer"
    applicationVersion = "5.10.0"
    repositoryRevision = "34045"
    os = "linux"

    def __init__(self, temporary: Path) -> None:
        self.temporaryPath = str(temporary)
        self._slots: dict[str, list[Callable[[], None]]] = {"aboutToQuit()": [], "startupCompleted()": []}
        self._settings = QSettings(str(temporary.parent / "settings.ini"), QSettings.Format.IniFormat)
        # The engine runs in the environment of these tests, as one that the user made by hand.
        self._settings.setValue("CondDiffusionUAD/EnvironmentPython", sys.executable)
        self.slicerHome = str(temporary.parent / "home")
        self.testing = True
        self.restarted = False

    def connect(self, signature: str, slot: Callable[[], None]) -> bool:
        """Connect a signal by its signature; like PythonQt, say False to one that does not exist."""
        if signature not in self._slots:
            return False
        self._slots[signature].append(slot)
        return True

    def disconnect(self, signature: str, slot: Callable[[], None]) -> bool:
        """Undo `connect`."""
        if slot not in self._slots.get(signature, []):
            return False
        self._slots[signature].remove(slot)
        return True

    def send(self, signature: str) -> None:
        """Send a signal, as the real application would."""
        for slot in tuple(self._slots[signature]):
            slot()

    def testingEnabled(self) -> bool:
        """Whether dialogs answer by themselves."""
        return self.testing

    def startupEnvironment(self) -> Any:
        """The variables that the application was started with."""
        return QProcessEnvironment.systemEnvironment()

    def userSettings(self) -> QSettings:
        """The settings of the user; the values come back as text."""
        return self._settings

    def layoutManager(self) -> None:
        """None: there is no main window."""

    def clipboard(self) -> Any:
        """The clipboard."""
        return qt_module.application().clipboard()

    def topLevelWidgets(self) -> tuple[Any, ...]:
        """None are shown by the application itself."""
        return ()


def _module(logic: Any, **more: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(logic=lambda: logic, **more)


def install_python() -> None:
    """Put the Python modules in place: qt, ctk and Slicer's own. Once a process."""
    qt_module.application()
    sys.modules["qt"] = qt_module.make_module(_WIDGETS)
    sys.modules["ctk"] = ctk_module.make_module()
    for module in (parameter_node.make_module(), scripted_module.make_module()):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.rpartition(".")[2], module)
    for widget in _MRML_WIDGETS:
        setattr(slicer, widget.__name__, widget)
    qt_module.show_properties(slicer.util)
    sys.meta_path.insert(0, qt_module.PropertiesAsAttributes("CondDiffusionUADLib", "CondDiffusionUAD"))


@contextmanager
def running(mrml: MrmlApplication, temporary: Path) -> Iterator[Application]:
    """An application with this scene; afterwards it has quit."""
    app = Application(temporary)
    slicer.app, slicer.mrmlScene = app, mrml.scene
    slicer.modules = types.SimpleNamespace(
        colors=_module(mrml.logics.colors),
        volumes=_module(mrml.logics.volumes),
        segmentations=_module(mrml.logics.segmentations),
        terminologies=_module(mrml.terminologies),
        conddiffusionuad=types.SimpleNamespace(path=str(MODULE_FILE)),
    )
    try:
        yield app
    finally:
        app.send("aboutToQuit()")
        del slicer.app, slicer.modules, slicer.mrmlScene


@contextmanager
def slots_that_raise() -> Iterator[list[BaseException]]:
    """Collects what slots and observers raise: Slicer goes on after it, but then exits with 1."""
    raised: list[BaseException] = []
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        raised.append(error)
        logging.error("raised in a slot", exc_info=(kind, error, trace))

    sys.excepthook = hook
    try:
        yield raised
    finally:
        sys.excepthook = before
