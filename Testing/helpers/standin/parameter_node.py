"""The module `slicer.parameterNodeWrapper`: typed attributes that are kept in a real parameter node.

As strict as Slicer's: everything is read when the wrapper is made (a number that is none raises ValueError there), is
remembered, and read again whenever the node is modified.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

import vtk
from PySide6.QtWidgets import QCheckBox, QWidget


def parameterNodeWrapper(kind: type) -> type:
    """Turn the annotated attributes of a class into parameters of the node that it is made with."""
    hints = typing.get_type_hints(kind)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def init(self: Any, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._values: dict[str, Any] = {}
        self._guis: dict[int, list[Callable[[], Any]]] = {}
        for name, hint in hints.items():
            if not parameterNode.HasParameter(name):
                _write(parameterNode, name, hint, defaults[name])
            self._values[name] = _read(parameterNode, name, hint)
        values = self._values

        def again(*_: Any) -> None:
            values.update({name: _read(parameterNode, name, hint) for name, hint in hints.items()})

        self._tag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, again)

    for name, hint in hints.items():
        setattr(kind, name, _property(name, hint))
    kind.__init__ = init  # type: ignore[misc]
    kind.__del__ = lambda self: self.parameterNode.RemoveObserver(self._tag)  # type: ignore[attr-defined]
    kind.AddObserver = lambda self, event, call: self.parameterNode.AddObserver(event, call)  # type: ignore[attr-defined]
    kind.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)  # type: ignore[attr-defined]
    kind.connectGui = _connect_gui  # type: ignore[attr-defined]
    kind.disconnectGui = _disconnect_gui  # type: ignore[attr-defined]
    return kind


def _is_node(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, vtk.vtkObjectBase)


def _read(node: Any, name: str, hint: type) -> Any:
    if _is_node(hint):
        return node.GetNodeReference(name)
    text = node.GetParameter(name)
    return text == "True" if hint is bool else hint(text)


def _write(node: Any, name: str, hint: type, value: Any) -> None:
    if _is_node(hint):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value else None)
        return
    if not isinstance(value, (int, float) if hint is float else hint):
        raise TypeError(f"{name} has to be {hint.__name__}, not {value!r}")
    node.SetParameter(name, str(value))


def _property(name: str, hint: type) -> property:
    if not _is_node(hint) and hint not in (str, int, float, bool):
        raise TypeError(f"{name}: there is no serializer for {hint}")

    def write(self: Any, value: Any) -> None:
        modifying = self.parameterNode.StartModify()
        _write(self.parameterNode, name, hint, value)
        self._values[name] = _read(self.parameterNode, name, hint)
        self.parameterNode.EndModify(modifying)

    return property(lambda self: self._values[name], write)


def _connect_gui(self: Any, gui: QWidget) -> int:
    """Connect the check boxes whose dynamic property names a parameter, both ways; other widgets are not known here."""
    writes: list[Callable[[], Any]] = []
    disconnects: list[Callable[[], Any]] = []
    for widget in gui.findChildren(QWidget):
        name = widget.property("SlicerParameterName")
        if not name:
            continue
        if name not in self._values:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        if not isinstance(widget, QCheckBox):
            raise RuntimeError(f"no connector for {widget}")
        write, disconnect = _connect_box(self, name, widget)
        writes.append(write)
        disconnects.append(disconnect)
        write()
    tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: [write() for write in writes])
    self._guis[tag] = disconnects
    return tag


def _connect_box(self: Any, name: str, box: QCheckBox) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def changed(checked: bool) -> None:
        setattr(self, name, bool(checked))

    box.toggled.connect(changed)
    return lambda: box.setProperty("checked", getattr(self, name)), lambda: box.toggled.disconnect(changed)


def _disconnect_gui(self: Any, tag: int) -> None:
    self.parameterNode.RemoveObserver(tag)
    for disconnect in self._guis.pop(tag):
        disconnect()


def make_module() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("slicer.parameterNodeWrapper")
    module.parameterNodeWrapper = parameterNodeWrapper  # type: ignore[attr-defined]
    return module
