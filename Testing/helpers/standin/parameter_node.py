"""The module `slicer.parameterNodeWrapper`: typed attributes that are kept in a real parameter node."""

from __future__ import annotations

import types
import typing
import weakref
from typing import Any

import vtk


def parameterNodeWrapper(kind: type) -> type:
    """Turn the annotated attributes of a class into parameters of the node that it is made with.

    Like Slicer's, it reads them all as it is made and whenever the node is modified, and raises over what it cannot.
    """
    hints = typing.get_type_hints(kind)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def init(self: Any, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._values, self._writing, self._tag = {}, False, 0
        for name, hint in hints.items():
            if not parameterNode.HasParameter(name):
                _write(parameterNode, name, hint, defaults[name])
            self._values[name] = _read(parameterNode, name, hint)
        itself = weakref.ref(self)  # the observer must not keep the wrapper alive
        self._tag = parameterNode.AddObserver("ModifiedEvent", lambda *_: itself()._readAll() if itself() else None)

    def read_all(self: Any) -> None:
        if not self._writing:
            self._values = {name: _read(self.parameterNode, name, hint) for name, hint in hints.items()}

    for name, hint in hints.items():
        setattr(kind, name, _property(name, hint))
    kind.__init__ = init  # type: ignore[misc]
    kind._readAll = read_all  # type: ignore[attr-defined]
    kind.__del__ = lambda self: self.parameterNode.RemoveObserver(self._tag)  # type: ignore[attr-defined]
    kind.AddObserver = lambda self, event, call: self.parameterNode.AddObserver(event, call)  # type: ignore[attr-defined]
    kind.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)  # type: ignore[attr-defined]
    return kind


def _property(name: str, hint: type) -> property:
    if not _is_node(hint) and hint not in (str, int, float, bool):
        raise TypeError(f"{name}: there is no serializer for {hint}")

    def write(self: Any, value: Any) -> None:
        self._writing = True
        try:
            modifying = self.parameterNode.StartModify()
            _write(self.parameterNode, name, hint, value)
            self._values[name] = _read(self.parameterNode, name, hint)
            self.parameterNode.EndModify(modifying)
        finally:
            self._writing = False

    return property(lambda self: self._values[name], write)


def _is_node(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, vtk.vtkObjectBase)


def _write(parameterNode: Any, name: str, hint: type, value: Any) -> None:
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) and not (_is_node(hint) and value is None):
        raise TypeError(f"{name} has to be {hint.__name__}, not {value!r}")
    if _is_node(hint):
        parameterNode.SetParameter(name, "")
        parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
    else:
        parameterNode.SetParameter(name, str(value))


def _read(parameterNode: Any, name: str, hint: type) -> Any:
    if _is_node(hint):
        return parameterNode.GetNodeReference(name)
    text = parameterNode.GetParameter(name)
    return text == "True" if hint is bool else hint(text)


def make_module() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("slicer.parameterNodeWrapper")
    module.parameterNodeWrapper = parameterNodeWrapper  # type: ignore[attr-defined]
    return module
