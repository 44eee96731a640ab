"""Cases from a datalist: JSON as of MONAI and the Medical Segmentation Decathlon, or CSV with a header.

``{"testing": [{"image": "a_flair.nii.gz", "label": "a_seg.nii.gz"}, ...]}``. Paths are relative to the list. A scan
without label is healthy. Optional are ``contrast``, ``patient``, ``dataset``, and, as numbers with spaces between them
or a JSON list, ``lesion_labels`` and ``ignored_labels``. Entries for training are left out; in a CSV that is a column
``split``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.protocol.contrast_names import named_in
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.datalist import LISTS, SPLIT_NAMES, rows, subject_in
from conddiffusion_uad.training.data.splits import TRAIN

__all__ = ["LISTS", "listed"]


def listed(file: Path) -> list[Case]:
    """The cases of a datalist. Raises BadInput("bad_datalist")."""
    entries = [{key: value for key, value in row.items() if value not in ("", None)} for row in rows(file)]
    return [_case(row, file) for row in entries if SPLIT_NAMES.get(row.get("split", "test")) != TRAIN]


def _case(row: Mapping[str, Any], file: Path) -> Case:
    image, label = row.get("image"), row.get("label")
    if not isinstance(image, str) or not isinstance(label, str | None):
        raise _bad(file, "an entry's image or label is not one path")
    contrast = row.get("contrast") or named_in(scan_name(image))
    if contrast not in CONTRASTS:
        raise _bad(file, f"the contrast of {image} is {contrast or 'not given'}; it is one of {', '.join(CONTRASTS)}")
    lesion, ignored = (_numbers(row.get(key), key, file) for key in ("lesion_labels", "ignored_labels"))
    return Case(
        patient=str(row.get("patient") or row.get("subject") or subject_in(image) or scan_name(image)),
        dataset=str(row.get("dataset") or file.stem),
        contrast=contrast,
        scan=file.parent / image,
        truth=file.parent / label if label else None,
        lesion_labels=lesion or None,
        ignored_labels=ignored,
    )


def _numbers(value: Any, key: str, file: Path) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in (value.split() if isinstance(value, str) else value or ()))
    except (TypeError, ValueError) as error:
        raise _bad(file, f"{key} cannot be {value!r}; it is whole numbers with spaces between them") from error


def _bad(file: Path, what: str) -> BadInput:
    return BadInput("bad_datalist", f"{file} cannot be used: {what}.", "See docs/EVALUATION.md.")
