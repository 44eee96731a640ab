"""What is said of a sensitivity: the false findings to expect in a healthy brain, where the model counted them.

Where it did not, the share of healthy tissue that is flagged has to do. Nothing here touches a widget.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from slicer.i18n import tr as _

from conddiffusion_uad.protocol.expected_findings import MOST, MOST_BOUNDED, ExpectedFindings
from conddiffusion_uad.protocol.job import USUAL_FLAGGED
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, REJECTED
from CondDiffusionUADLib.scene.Findings import Finding
from CondDiffusionUADLib.scene.Heatmap import HIGHEST_THRESHOLD, SCORE_RANGE, scoreText

OTHER_LEVELS = "other_levels"  # code of the engine's warning


def expectedIn(report: str) -> tuple[ExpectedFindings | None, ExpectedFindings | None]:
    """What the report (JSON) of a detection says of healthy scans, and what of it holds for the scan.

    Both are None when it says nothing that is understood; the second one also when the scan was scored otherwise than
    the healthy scans, with other noise levels or without the location prior: then the report compares nothing.
    """
    try:
        told = json.loads(report)
        counted = told["expected_findings"]
        expected = ExpectedFindings.from_json(counted)
        warned = any(warning["code"] == OTHER_LEVELS for warning in told.get("warnings", ()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, None
    compared = not expected.largest or counted.get("healthy_as_large") is not None
    return expected, expected if compared and not warned else None


def usualThreshold(expected: ExpectedFindings | None) -> float:
    """The score to begin with, within the range of the slider; that of a share of the tissue when nobody counted."""
    if expected is None:
        return -math.log10(USUAL_FLAGGED)
    return min(max(expected.usual_threshold(), SCORE_RANGE[0]), HIGHEST_THRESHOLD)


def reach(expected: ExpectedFindings | None) -> float:
    """The highest score that the slider has to reach: the last color, or the last threshold that says anything."""
    return max(SCORE_RANGE[1], min(expected.thresholds[-1], HIGHEST_THRESHOLD)) if expected else SCORE_RANGE[1]


def falseFindings(expected: ExpectedFindings | None, threshold: float, minVolumeMl: float) -> str:
    """How many findings a healthy brain has at a threshold; empty where nobody counted any as small as these."""
    if expected is None or not expected.covers(minVolumeMl):
        return ""
    count = expected.at(threshold)
    if count >= MOST or threshold < expected.thresholds[0]:
        return _("{count} false findings or more in a healthy brain").format(count=_number(count))
    if count < 0.5 / expected.scans:
        return _("fewer than {count} false findings in a healthy brain").format(count=_number(1 / expected.scans))
    told = _number(count)
    if told == "1":
        return _("about 1 false finding in a healthy brain")
    return _("about {count} false findings in a healthy brain").format(count=told)


def share(threshold: float) -> str:
    """The share of healthy tissue that a threshold flags."""
    return _("{percent} % flagged").format(percent=f"{100 * 10**-threshold:.2g}")


def explained(expected: ExpectedFindings | None, threshold: float) -> str:
    """What a sensitivity means, for a tool tip."""
    text = _("{percent} % of healthy tissue is flagged.").format(percent=f"{100 * 10**-threshold:.2g}")
    if expected is None:
        return text
    counted = _("False findings were counted in {scans} healthy scans of {brains} brains, from {ml} ml on.")
    told = counted.format(
        scans=expected.scans, brains=expected.brains or expected.scans, ml=f"{expected.smallest_ml:g}"
    )
    bound = expected.at(threshold, bounded=True)
    if bound >= MOST_BOUNDED or threshold < expected.thresholds[0]:
        return f"{text} {told}"
    limit = _(
        "However few those are: a healthy brain of their kind has at most {bound} on average, by the conformal bound, "
        "which counts more than {most} in one scan as {most}."
    )
    return f"{text} {told} {limit.format(bound=f'{bound:.1f}', most=f'{MOST_BOUNDED:g}')}"


def howUsual(expected: ExpectedFindings | None, largest: float) -> str:
    """The largest score of a scan in which nothing was found, and how usual it is in healthy ones."""
    text = _("The largest score is {score}").format(score=scoreText(largest))
    usual = expected.usual(largest) if expected is not None else None
    if expected is None or usual is None:
        return f"{text}."
    if not usual:
        return _("{text}, and none of {scans} healthy scans has one as large.").format(text=text, scans=expected.scans)
    percent = f"{100 * usual:.0f}"
    told = _("{text}; {percent} % of {scans} healthy scans have one as large.")
    return told.format(text=text, percent=percent, scans=expected.scans)


def nothingFound(threshold: float, minVolumeMl: float, largest: float) -> str:
    """That there are no findings, and whether it is because what there is is too small."""
    if largest < threshold:
        return _("Nothing above the threshold")
    return _("Nothing of {ml} ml or more above the threshold").format(ml=f"{minVolumeMl:g}")


def summary(findings: Sequence[Finding]) -> str:
    """What was found, in the words of a report."""
    kept = [finding for finding in findings if finding.status != REJECTED]
    volume = f"{sum(finding.volumeMl for finding in kept):.1f}"
    text = (
        _("1 candidate, {volume} ml").format(volume=volume)
        if len(kept) == 1
        else _("{count} candidates, {volume} ml").format(count=len(kept), volume=volume)
    )
    accepted = sum(finding.status == ACCEPTED for finding in findings)
    rejected = len(findings) - len(kept)
    counts = [
        _("{count} accepted").format(count=accepted) if accepted else "",
        _("{count} rejected").format(count=rejected) if rejected else "",
    ]
    told = ", ".join(filter(None, counts))
    return f"{text} ({told})" if told else text


def _number(count: float) -> str:
    """A number of findings, with no more digits than it is known to."""
    return f"{count:.0f}" if count >= 9.5 else f"{count:.1f}".removesuffix(".0") if count >= 0.95 else f"{count:.1g}"
