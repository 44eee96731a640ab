"""Values of a recipe that a command changes: ``--set fit.batch=8``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def override(values: dict[str, Any], assignments: Sequence[str]) -> None:
    """Change values of a recipe in place.

    Args:
        values: The recipe's TOML values.
        assignments: Such as ``fit.levels=[1,1000]`` or ``source.0.weight=0.5``: keys and positions that lead to the
            value, and the value as JSON, or as it stands when it is none.

    Raises:
        ValueError: An assignment has no ``=`` or leads nowhere.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *parents, last = path.strip().split(".")
        try:
            place: Any = values
            for key in parents:
                place = place[_key(place, key)]
            if not equals:
                raise KeyError(path)
            place[_key(place, last)] = _value(text.strip())
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"--set {assignment} leads nowhere") from error


def to_toml(values: Mapping[str, Any]) -> str:
    """A recipe's values as TOML: plain values first, then a table or an array of tables for each of the others."""
    plain = {key: value for key, value in values.items() if not _is_table(value)}
    lines = [f"{key} = {_inline(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if _is_table(value):
            for table in value if isinstance(value, list) else [value]:
                lines += ["", f"[[{key}]]" if isinstance(value, list) else f"[{key}]"]
                lines += [f"{name} = {_inline(entry)}" for name, entry in table.items()]
    return "\n".join(lines) + "\n"


def _key(place: Any, key: str) -> str | int:
    return int(key) if isinstance(place, list) and key.isdecimal() else key


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)  # strings, numbers and booleans look the same in TOML
