"""What a person sees in a terminal: a progress bar on stderr, the findings on stdout."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from conddiffusion_uad.app.progress_line import ProgressLine
from conddiffusion_uad.protocol.events import Event
from conddiffusion_uad.protocol.expected_findings import MOST_BOUNDED
from conddiffusion_uad.protocol.failures import RESEARCH_USE, printable

TITLES = {
    "read": "Reading the scan",
    "load": "Loading the model",
    "orient": "Orienting",
    "strip": "Finding the brain",
    "register": "Registering to the atlas",
    "bias": "Correcting the bias field",
    "normalize": "Normalizing",
    "resample": "Resampling",
    "check": "Checking the scan",
    "reconstruct": "Reconstructing",
    "score": "Scoring",
    "restore": "Back to the scan's grid",
    "findings": "Collecting findings",
    "report": "Writing results",
}
MOST_ROWS = 10


class Console:
    """Receives the events of a run and shows them to a person."""

    def __init__(self) -> None:
        self._line = ProgressLine()
        self._title = ""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        getattr(self, "_" + event["event"])(event)

    def _stage(self, event: Event) -> None:
        self._title = TITLES.get(event["name"], event["name"])
        if not self._line.live:
            self._line.say(f"[{event['index']:2d}/{event['total']}] {self._title}")

    def _estimate(self, event: Event) -> None:
        self._line.say(f"This takes about {clock(event['seconds'])} min in all on this computer.")

    def _progress(self, event: Event) -> None:
        left = f"{clock(event['eta_s'])} left" if event["fraction"] < 1 and event["eta_s"] is not None else ""
        self._line.draw(f"{self._title:26}", event["fraction"], left)

    def _warning(self, event: Event) -> None:
        self._line.say(f"Warning: {_of(event)}{event['message']}")
        self._line.say(f"         {event['hint']}" if event["hint"] else "")

    def _error(self, event: Event) -> None:
        self._line.say(f"Error: {_of(event)}{event['message']}")
        self._line.say(f"       {event['hint']}" if event["hint"] else "")

    def _done(self, event: Event) -> None:
        self._line.clear()
        report = json.loads(Path(event["report"]).read_text(encoding="utf-8"))
        show("\n".join([f"{Path(event['report']).parent}:", *findings_table(report), f"{RESEARCH_USE}."]))


def _of(event: Event) -> str:
    """Which of several scans an event is of."""
    return f"{printable(event['input'])}: " if "input" in event else ""


def findings_table(report: dict[str, Any]) -> list[str]:
    """The findings of a report as lines of text, the first ones only."""
    findings = report["findings"]["list"]
    threshold = report["parameters"]["threshold"]
    if not findings:
        return [f"Nothing from score {threshold:.2f} on.", *_usual(report), *_false_ones(report)]
    lines = [f"{'finding':>7} {'volume':>10} {'peak':>6} {'mean':>6}   center R, A, S"]
    for entry in findings[:MOST_ROWS]:
        center = ", ".join(f"{entry[f'centre_{axis}_mm']:.0f}" for axis in "ras")
        volume = f"{entry['volume_ml']:.2f} ml"
        lines.append(
            f"{entry['number']:7d} {volume:>10} {entry['peak_score']:6.2f} {entry['mean_score']:6.2f}   {center} mm"
        )
    if len(findings) > MOST_ROWS:
        lines.append(f"... and {len(findings) - MOST_ROWS} more in findings.csv")
    return [*lines, *_false_ones(report)]


def _usual(report: dict[str, Any]) -> list[str]:
    """How usual the largest score is in healthy scans, if the bundle knows."""
    share = (report.get("expected_findings") or {}).get("healthy_as_large")
    return [] if share is None else [f"{share:.0%} of healthy scans have a score as large as its largest."]


def _false_ones(report: dict[str, Any]) -> list[str]:
    """How many of such findings a healthy brain has, if the bundle knows; the bound where it says anything."""
    known = report.get("expected_findings") or {}
    expected, bound = known.get("at_threshold"), known.get("bound")
    if expected is None:
        return []
    number = f"{expected:.2g}" if expected >= 0.5 / known["scans"] else f"fewer than {1 / known['scans']:.2g}"
    told = f"From score {report['parameters']['threshold']:.2f} on a healthy brain has {number} findings on average"
    if bound >= MOST_BOUNDED:
        return [f"{told}."]
    return [
        f"{told}; the conformal bound of that is {bound:.2g}, where a scan with more than {MOST_BOUNDED:g} has so many."
    ]


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, "1:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def show(text: str) -> None:
    """Print on stdout; letters that it cannot show are escaped, and when nobody reads it any more, go on without."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:  # a closed pipe; Windows names it otherwise
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not fail again
