"""Whether outlines are seen: what the user hid stays hidden, what was hidden for another result comes back.

Slicer keeps both in a scene's file, a segmentation's visibility and each segment's, but may hide segments by itself as
rows come into its tree of data: when a scene is loaded, and when segments are made (5.13 does). Outlines that are
missing look like tissue that is fine. So what the user hid is kept apart, and is what counts.
"""

from __future__ import annotations

import json
from typing import Any

from CondDiffusionUADLib.scene.CandidateSegmentation import isOurs, segmentIds

_PUT_AWAY = "CondDiffusionUAD.PutAway"  # of a segmentation that was hidden for another one, not by the user
_HIDDEN = "CondDiffusionUAD.HiddenSegments"  # of a segmentation: the IDs of those that the user hid, JSON


def isPutAway(segmentation: Any) -> bool:
    """Whether the outlines of a result are hidden for another segmentation."""
    return bool(segmentation.GetAttribute(_PUT_AWAY))


def bringOut(segmentation: Any, *, asked: bool) -> None:
    """Show the outlines of a result that was put away, or (asked) of any."""
    display = segmentation.GetDisplayNode()
    if (asked or isPutAway(segmentation)) and not display.GetVisibility():
        display.SetVisibility(True)
    segmentation.RemoveAttribute(_PUT_AWAY)


def putAway(segmentation: Any, *, forAnother: bool) -> None:
    """Hide the outlines of a result: for another one, whose end brings them back; or because the user wants none."""
    display = segmentation.GetDisplayNode()
    if display.GetVisibility():
        display.SetVisibility(False)
        if forAnother:
            segmentation.SetAttribute(_PUT_AWAY, "true")
    if not forAnother:
        segmentation.RemoveAttribute(_PUT_AWAY)


def keepHidden(segmentation: Any) -> None:
    """Keep which of the module's segments are hidden now: the user did it."""
    display = segmentation.GetDisplayNode()
    if display is not None:
        ours = filter(isOurs, segmentIds(segmentation))
        hidden = sorted(name for name in ours if not display.GetSegmentVisibility(name))
        text = json.dumps(hidden) if hidden else None
        if text != segmentation.GetAttribute(_HIDDEN):
            segmentation.SetAttribute(_HIDDEN, text)


def showAsKept(segmentation: Any) -> None:
    """Hide the segments of the module that the user hid, and show the others; those of the user's own are left."""
    display = segmentation.GetDisplayNode()
    if display is None:
        return
    hidden = _kept(segmentation)
    modifying = display.StartModify()  # the views are drawn once
    for name in filter(isOurs, segmentIds(segmentation)):
        if display.GetSegmentVisibility(name) == (name in hidden):
            display.SetSegmentVisibility(name, name not in hidden)
    display.EndModify(modifying)


def _kept(segmentation: Any) -> set[str]:
    try:
        return set(map(str, json.loads(segmentation.GetAttribute(_HIDDEN) or "[]")))
    except (ValueError, TypeError, RecursionError):  # a scene may come from anybody
        return set()
