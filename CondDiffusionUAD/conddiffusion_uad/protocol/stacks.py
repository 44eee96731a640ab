"""Which images of one plane make a volume together, where several lie at each place. Standard library only.

Slicer loads a series as one volume, so its panel asks this of the tags in the DICOM database, as the engine does of the
files.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

SAME_PLACE_MM = 0.01
_SAME_STEP = 1.1  # how far distances of images may differ

TAGS = {
    "echo time": ("0018,0081", " ms"),
    "image type": ("0008,0008", ""),
    "component": ("0008,9208", ""),
    "stack": ("0020,9056", ""),
    "b-value": ("0018,9087", " s/mm2"),
    "inversion time": ("0018,0082", " ms"),
    "time": ("0020,0100", ""),
    "trigger time": ("0018,1060", " ms"),
    "flip angle": ("0018,1314", " degrees"),
    "acquisition": ("0020,0012", ""),
    "echo": ("0018,0086", ""),
}
"""What tells images of one place apart, the first that does counting: what it is called, its tag and its unit."""

CONTRASTS = ("echo time", "component", "b-value", "inversion time", "flip angle")
"""What differs within no volume, even where all images lie at places of their own."""

POSITION, ORIENTATION = "0020,0032", "0020,0037"

EVERY = "*"
"""All that differs together tells images apart, and no single thing."""


def split(heights: Sequence[float], marks: Sequence[Mapping[str, str]]) -> list[tuple[list[int], str]]:
    """Stacks of images of one plane, as indices, and what tells each from the others: a name, `EVERY` or nothing.

    Args:
        heights: Where each image lies across the plane, mm.
        marks: Of each image, by name: see `TAGS`.
    """
    if distinct(heights):
        return _between_each_other(heights, marks) or [(list(range(len(heights))), "")]
    names = list(dict.fromkeys(name for own in marks for name in own))
    for name in names:
        if groups := _told_apart(heights, [own.get(name, "") for own in marks]):
            return [(group, name) for group in groups]
    if groups := _told_apart(heights, [tuple(own.get(name, "") for name in names) for own in marks]):
        return [(group, EVERY) for group in groups]
    return [(group, "") for group in _repetitions(heights)]


def _between_each_other(heights: Sequence[float], marks: Sequence[Mapping[str, str]]) -> list[tuple[list[int], str]]:
    """Stacks of different contrasts whose images lie between each other, each at even distances; else nothing."""
    for name in CONTRASTS:
        groups = _alike([own.get(name, "") for own in marks])
        if len(groups) > 1 and all(_even([heights[index] for index in group]) for group in groups):
            return [(group, name) for group in groups]
    return []


def _even(heights: Sequence[float]) -> bool:
    """Whether at least three images follow each other at one distance."""
    steps = [high - low for low, high in pairwise(sorted(heights))]
    return len(steps) > 1 and max(steps) <= _SAME_STEP * min(steps)


def _alike(keys: Sequence[Hashable]) -> list[list[int]]:
    """The indices of equal keys."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _told_apart(heights: Sequence[float], keys: Sequence[Hashable]) -> list[list[int]]:
    """The images with the same key, if that leaves each place at most one image; else nothing."""
    found = _alike(keys)
    return found if all(distinct([heights[index] for index in group]) for group in found) else []


def distinct(heights: Sequence[float]) -> bool:
    """Whether all images lie at places of their own."""
    return all(high - low > SAME_PLACE_MM for low, high in pairwise(sorted(heights)))


def _repetitions(heights: Sequence[float]) -> list[list[int]]:
    """The first images of all places, the second ones, and so on."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    turn, groups = 0, [[order[0]]]
    for before, after in pairwise(order):
        turn = turn + 1 if heights[after] - heights[before] < SAME_PLACE_MM else 0
        if turn == len(groups):
            groups.append([])
        groups[turn].append(after)
    return groups
