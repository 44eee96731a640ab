"""Values of a recipe that a command changes: ``--set fit.batch=8``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def override(values: dict[str, Any], assignments: Sequence[str]) -> None:
    """Change values of a recipe in place.

    Args:
        values: The recipe's TOML values.
        assignments: Such as ``fit.betas=[0.9,0.99]`` or ``source.0.weight=0.5``: keys and positions that lead to the
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


def _key(place: Any, key: str) -> str | int:
    return int(key) if isinstance(place, list) and key.isdecimal() else key


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
