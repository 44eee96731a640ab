"""What all parts of a method have in common: how a configuration names them, and networks of their own.

A part that follows gradients, or looks into layers, has an attribute ``plain`` that is true. The method is then given
the networks in their plain form, which is slower: copies that the part may change, without gradients unless the part
turns them on (``torch.enable_grad``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import nn

KIND = "kind"
NETWORK = re.compile(r"[a-z][a-z0-9_]{0,31}")

PartT = TypeVar("PartT")


@runtime_checkable
class Learned(Protocol):
    """A part with a network of its own; the bundle keeps its weights in ``models/<weights>.safetensors``.

    When the part is called, the loaded network is ``model.networks[self.weights]``, on the model's device. Parts that
    name the same weights share one network.
    """

    @property
    def weights(self) -> str:
        """Name of the network and of its file; see ``NETWORK``."""

    def build(self) -> nn.Module:
        """The network with new weights."""


@runtime_checkable
class Particular(Protocol):
    """A part that cannot go with all others."""

    def require(self, method: Any) -> None:
        """Raise ValueError, with the sentence that says why, unless it can be a part of a ``method.Method``."""


def read(kinds: Mapping[str, type[PartT]], values: Any, place: str) -> PartT:
    """The part that a configuration describes.

    Args:
        kinds: The parts that there are, by the names that configurations call them.
        values: ``kind``, and the fields of the part's class; a single text is a kind without fields.
        place: Where the values stand in the configuration.

    Raises:
        ValueError: There is no such kind, a key is unknown or missing, or the part refuses its values.
    """
    values = {KIND: values} if isinstance(values, str) else values
    if not isinstance(values, Mapping) or values.get(KIND) not in kinds:
        kind = values.get(KIND) if isinstance(values, Mapping) else values
        raise ValueError(f"{place} cannot be {kind!r}; it is one of: {', '.join(kinds)}")
    part = kinds[values[KIND]]
    given = {name: _frozen(value) for name, value in values.items() if name != KIND}
    require_known(given, [field.name for field in fields(part)], place)  # type: ignore[arg-type]  # all are dataclasses
    try:
        return part(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error


def written(kinds: Mapping[str, type[PartT]], part: PartT) -> dict[str, Any]:
    """A part as a configuration describes it; the inverse of :func:`read`."""
    kind = next(name for name, known in kinds.items() if known is type(part))
    return {KIND: kind, **{each.name: _thawed(getattr(part, each.name)) for each in fields(part)}}  # type: ignore[arg-type]


def require_known(values: Mapping[str, Any], known: list[str], place: str) -> None:
    """Raise ValueError for the first key of a configuration that nothing knows."""
    if unknown := next((name for name in values if name not in known), None):
        raise ValueError(f"{place} has an unknown key {unknown!r}; known are: {', '.join(known) or 'none'}")


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    return list(map(_thawed, value)) if isinstance(value, tuple) else value
