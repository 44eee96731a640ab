"""The module `slicer.parameterNodeWrapper`: typed attributes that are kept in a real parameter node."""

from __future__ import annotations

import types
import typing
from typing import Any

import vtk


def parameterNodeWrapper(kind: type) -> type:
    """Turn the annotated attributes of a class into parameters of the node that it is made with."""
    hints = typing.get_type_hints(kind)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def init(self: Any, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        for name, hint in hints.items():
            if not _is_node(hint) and not parameterNode.GetParameter(name):
                setattr(self, name, defaults[name])

    for name, hint in hints.items():
        setattr(kind, name, _node_property(name) if _is_node(hint) else _value_property(name, hint))
    kind.__init__ = init  # type: ignore[misc]
    kind.AddObserver = lambda self, event, call: self.parameterNode.AddObserver(event, call)  # type: ignore[attr-defined]
    kind.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)  # type: ignore[attr-defined]
    return kind


def _is_node(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, vtk.vtkObjectBase)


def _node_property(name: str) -> property:
    def write(self: Any, node: Any) -> None:
        self.parameterNode.SetNodeReferenceID(name, node.GetID() if node else None)

    return property(lambda self: self.parameterNode.GetNodeReference(name), write)


def _value_property(name: str, hint: type) -> property:
    if hint not in (str, int, float, bool):
        raise TypeError(f"{name}: there is no serializer for {hint}")

    def read(self: Any) -> Any:
        text = self.parameterNode.GetParameter(name)
        return text == "True" if hint is bool else hint(text)

    def write(self: Any, value: Any) -> None:
        if not isinstance(value, (int, float) if hint is float else hint):
            raise TypeError(f"{name} has to be {hint.__name__}, not {value!r}")
        self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def make_module() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("slicer.parameterNodeWrapper")
    module.parameterNodeWrapper = parameterNodeWrapper  # type: ignore[attr-defined]
    return module
