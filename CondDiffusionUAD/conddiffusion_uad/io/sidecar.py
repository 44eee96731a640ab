"""What the JSON file beside a NIfTI scan tells of its contrast, as dcm2niix and BIDS have it."""

from __future__ import annotations

import json
from pathlib import Path

from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.protocol.contrast_names import TAGS

_MOST_BYTES = 1 << 20
_IN_SECONDS = ("EchoTime", "InversionTime", "RepetitionTime")
_OTHER_NAMES = {"ContrastBolusIngredient": "ContrastBolusAgent"}


def tags_beside(path: str) -> dict[str, str]:
    """The values of `contrast_names.TAGS` in the file of the same name with the suffix .json; nothing without one."""
    file = Path(path).parent / f"{scan_name(path)}.json"
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return {}
        stored = json.loads(file.read_text(encoding="utf-8", errors="replace"))
        return {_OTHER_NAMES.get(name, name): _text(name, value) for name, value in stored.items() if _is_told(name)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _is_told(name: str) -> bool:
    return name in _OTHER_NAMES or (name in TAGS and name not in _OTHER_NAMES.values())


def _text(name: str, value: object) -> str:
    """A value as DICOM has it: milliseconds, several values with "\\" between them."""
    if isinstance(value, list):
        return "\\".join(map(str, value))
    if name in _IN_SECONDS and isinstance(value, (int, float)):
        return f"{1000 * value:g}"
    return str(value)
