"""From a place on disk to the cases in it: published data sets, any folder, any datalist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from conddiffusion_uad.evaluation.data.cases import Case, with_unique_ids
from conddiffusion_uad.evaluation.data.datalist import LISTS, listed
from conddiffusion_uad.evaluation.data.layouts import LAYOUTS
from conddiffusion_uad.protocol.failures import BadInput


def find(places: Sequence[str | Path], contrasts: Sequence[str]) -> list[Case]:
    """All cases of some data sets, with different ids.

    A case may lack its scan or its label map: an adapter says what belongs there, and the checks say what is missing.

    Args:
        places: Folders, whose layout is recognized or named as in ``wmh:PATH``, and datalists.

    Raises:
        BadInput: ``no_data_set`` when a place does not exist, ``no_cases`` when it holds no scan of these contrasts,
            or ``bad_datalist``.
    """
    return with_unique_ids(case for place in places for case in _cases(str(place), contrasts))


def _cases(place: str, contrasts: Sequence[str]) -> list[Case]:
    name, colon, rest = place.partition(":")
    layout = LAYOUTS.get(name.lower()) if colon else None
    path = Path(rest if layout else place).absolute()
    if path.is_file() and path.suffix.lower() in LISTS and not layout:
        found = listed(path)
    elif path.is_dir():
        chosen = layout or next(known for known in LAYOUTS.values() if known.matches(path))
        found = list(chosen.cases(path))
    else:
        raise BadInput(
            "no_data_set",
            f"There is no folder or datalist {path}.",
            f"Give a folder, a .json or a .csv; a layout may be named before a folder: {', '.join(LAYOUTS)}.",
        )
    # Of a label map without a scan, nobody knows the contrast.
    wanted = [case for case in found if case.contrast in ("", *contrasts)]
    if not wanted:
        raise BadInput(
            "no_cases",
            f"{path} holds no scan with a name that says {', '.join(contrasts)}.",
            "See docs/EVALUATION.md for names and layouts, or write a datalist.",
        )
    return wanted


def some(cases: Sequence[Case], most: int | None) -> list[Case]:
    """The cases of at most so many patients of each data set, evenly spread; None keeps all."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for case in cases:
        names[case.dataset][case.patient] = None
    chosen = {place: list(found)[:: -(-len(found) // most) if most else 1] for place, found in names.items()}
    return [case for case in cases if case.patient in chosen[case.dataset]]
