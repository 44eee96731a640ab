"""Tables of a recipe as dataclasses that refuse what they do not know, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from conddiffusion_uad.method.parts import require_known

TableT = TypeVar("TableT", bound="Table")


class Table:
    """Base of frozen dataclasses whose values come from TOML: each has to be of the type that its field says.

    Subclasses check ranges in ``__post_init__``, after calling this one's.
    """

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if not _fits(getattr(self, name), kind):
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}: it is {_named(kind)}")


def read(table: type[TableT], values: Any, place: str, usual: Mapping[str, Any] = MappingProxyType({})) -> TableT:
    """A table from its TOML values; those of tables within it are read alike.

    Args:
        values: What the TOML says; what is no table there, such as a part of a method, is read already.
        usual: Values of what the TOML leaves out.

    Raises:
        ValueError: A key is unknown or missing, or a value is of another type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"[{place}] is no table")
    values = {**usual, **values}
    known = fields(table)  # type: ignore[arg-type]  # all are dataclasses
    require_known(values, [field.name for field in known], f"[{place}]")
    for field in known:
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"[{place}] lacks {field.name}")
    kinds = get_type_hints(table)
    given = {name: _given(kinds[name], value, f"{place}.{name}") for name, value in values.items()}
    try:
        return table(**given)
    except ValueError as error:
        raise ValueError(f"[{place}] {error}") from error


def _given(kind: Any, value: Any, place: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Table):
        return read(kind, value, place)
    return tuple(value) if isinstance(value, list) else value


def require_range(value: float, low: float, high: float, name: str) -> None:
    """Raise ValueError unless ``low <= value <= high``; not a number is out of every range."""
    if not low <= value <= high:
        raise ValueError(f"{name} cannot be {value!r}: it is from {low:g} to {high:g}")


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return type(value) in (int, float)
    if kind in (int, str, bool):
        return type(value) is kind
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if not isinstance(value, tuple):
            return False
        kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    return True  # a table or a part of its own, which checked itself


def _named(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if get_origin(kind) is tuple:
        return "a list, each " + names[get_args(kind)[0]]
    return names[kind]
