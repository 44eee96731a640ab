"""Which files a training learns from: those that a recipe's patterns find in a folder, or those of a datalist.

A datalist is JSON as of MONAI and the Medical Segmentation Decathlon, ``{"training": [{"image": "a.nii.gz"}, ...],
"validation": [...], "test": [...]}``, or CSV with a header. Keys of an entry, and columns: ``image`` (path, relative to
the list), and optionally ``contrast``, ``subject``, ``split`` and ``kind`` (of a recipe's sources).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.source import KINDS, Source
from conddiffusion_uad.training.data.splits import HELD_OUT, TEST, TRAIN

LISTS = (".json", ".csv")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "validation", "held_out"), HELD_OUT),
    **dict.fromkeys(("test", "testing"), TEST),
}
# How BIDS and IXI name a subject; it is the same one in every source.
_SUBJECT = re.compile(r"(?<![0-9A-Za-z])(sub-[0-9A-Za-z]+|IXI\d+)")


@dataclass(frozen=True)
class Entry:
    """A file to learn from.

    Attributes:
        file: Where it is.
        source: The source of the recipe that it belongs to.
        subject: Who is shown. Scans of one subject are never split.
        split: TRAIN, HELD_OUT or TEST when a datalist says so.
    """

    file: Path
    source: Source
    subject: str
    split: str | None = None


def find(sources: Sequence[Source], data: Path) -> list[list[Entry]]:
    """The files of each source.

    Args:
        data: A folder, in which the sources' patterns are looked for; or a datalist, of which each source gets the
            entries of its kind and contrast.

    Raises:
        BadInput: ``no_training_data`` when it is missing, or ``bad_datalist``.
    """
    if data.is_dir():
        return [
            [_entry(file, file.relative_to(data).as_posix(), source) for file in sorted(data.glob(source.files))]
            for source in sources
        ]
    if not data.is_file() or data.suffix.lower() not in LISTS:
        raise BadInput(
            "no_training_data", f"There is no folder or datalist {data}.", "Check --data: a folder, a .json or a .csv."
        )
    entries = [_checked(row, data) for row in rows(data)]
    return [
        [
            _entry(
                data.parent / row["image"], row["image"], source, row.get("subject"), SPLIT_NAMES.get(row.get("split"))
            )
            for row in entries
            if row["kind"] == source.kind and row.get("contrast", "") in ("", source.contrast)
        ]
        for source in sources
    ]


def _entry(file: Path, name: str, source: Source, subject: str | None = None, split: str | None = None) -> Entry:
    own = f"{source.kind} {name}"  # means nothing to other sources
    return Entry(file, source, subject or subject_in(name) or own, split)


def subject_in(name: str) -> str | None:
    """The subject that a file's name tells as BIDS and IXI do; None when it tells none."""
    found = _SUBJECT.search(name)
    return found.group(1) if found else None


def rows(data: Path) -> list[dict[str, str]]:
    """The entries of a datalist as they stand there, with their ``split``. Raises BadInput("bad_datalist")."""
    try:
        text = data.read_text(encoding="utf-8-sig")
        if data.suffix.lower() == ".csv":
            return [
                {key: (value or "").strip() for key, value in row.items() if key}
                for row in csv.DictReader(text.splitlines())
            ]
        return [
            {"split": split, **({"image": item} if isinstance(item, str) else item)}
            for split, items in json.loads(text).items()
            if split in SPLIT_NAMES
            for item in items
        ]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput("bad_datalist", f"{data} cannot be read: {error}.", "See docs/TRAINING.md.") from error


def _checked(row: Mapping[str, str], data: Path) -> dict[str, str]:
    """The row with its kind. Raises BadInput("bad_datalist")."""
    row = {"kind": "scans", **{key: value for key, value in row.items() if value != ""}}
    accepted = {"kind": KINDS, "contrast": CONTRASTS, "split": tuple(SPLIT_NAMES)}
    for key, values in accepted.items():
        if key in row and row[key] not in values:
            raise BadInput(
                "bad_datalist", f"{data.name}: {key} cannot be {row[key]!r}.", f"Accepted: {', '.join(values)}."
            )
    if not isinstance(row.get("image"), str):
        raise BadInput("bad_datalist", f"{data.name} has an entry without an image.", "See docs/TRAINING.md.")
    return row
