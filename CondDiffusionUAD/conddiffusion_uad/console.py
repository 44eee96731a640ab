"""What a person sees in a terminal: a progress bar on stderr, the findings on stdout."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from conddiffusion_uad.protocol import RESEARCH_USE, Event

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
BAR = 28


class Console:
    """Receives the events of a run and shows them to a person."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._title = ""
        self._drawn = False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        getattr(self, "_" + event["event"])(event)

    def _stage(self, event: Event) -> None:
        self._title = TITLES.get(event["name"], event["name"])
        if not self._live:
            self._say(f"[{event['index']:2d}/{event['total']}] {self._title}")

    def _progress(self, event: Event) -> None:
        if not self._live:
            return
        filled = round(BAR * event["fraction"])
        line = f"{self._title:26} [{'#' * filled}{'.' * (BAR - filled)}] {event['fraction']:4.0%}"
        left = event["eta_s"]
        line += f"  {clock(left)} left" if event["fraction"] < 1 else ""
        width = shutil.get_terminal_size().columns - 1
        _print("\r" + line[:width].ljust(width))
        self._drawn = True

    def _warning(self, event: Event) -> None:
        self._say(f"Warning: {event['message']}")
        self._say(f"         {event['hint']}" if event["hint"] else "")

    def _error(self, event: Event) -> None:
        self._say(f"Error: {event['message']}")
        self._say(f"       {event['hint']}" if event["hint"] else "")

    def _done(self, event: Event) -> None:
        self._clear()
        report = json.loads(Path(event["report"]).read_text(encoding="utf-8"))
        show("\n".join([f"{Path(event['report']).parent}:", *findings_table(report), f"{RESEARCH_USE}."]))

    def _say(self, line: str) -> None:
        self._clear()
        if line:
            _print(line + "\n")

    def _clear(self) -> None:
        if self._drawn:
            _print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._drawn = False


def _print(text: str) -> None:
    with suppress(OSError):  # nobody may be reading stderr any more; the run goes on
        print(text, end="", file=sys.stderr, flush=True)


def findings_table(report: dict[str, Any]) -> list[str]:
    """The findings of a report as lines of text, the first ones only."""
    findings = report["findings"]["list"]
    threshold = report["parameters"]["threshold"]
    if not findings:
        return [f"No finding from score {threshold:.2f} on."]
    lines = [f"{'finding':>7} {'volume':>10} {'peak':>6} {'mean':>6}   center R, A, S"]
    for entry in findings[:MOST_ROWS]:
        center = ", ".join(f"{entry[f'centre_{axis}_mm']:.0f}" for axis in "ras")
        volume = f"{entry['volume_ml']:.2f} ml"
        lines.append(
            f"{entry['number']:7d} {volume:>10} {entry['peak_score']:6.2f} {entry['mean_score']:6.2f}   {center} mm"
        )
    if len(findings) > MOST_ROWS:
        lines.append(f"... and {len(findings) - MOST_ROWS} more in findings.csv")
    return lines


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
