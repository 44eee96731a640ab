"""Whole cold detections of one scan by two checkouts, in turns: time of the processor, memory, how equal results are.

OMP_NUM_THREADS=1 python Testing/studies/compare_detections.py ../before . --scan SCAN --contrast T1 --rounds 5

Each detection is a process of its own, `python -m conddiffusion_uad detect` with the checkout's package, so that any
two checkouts can be compared that have this command. Linux only: /proc tells the processor's time at each stage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nibabel
import numpy as np

from conddiffusion_uad.evaluation.benchmark.stages import NETWORK, beside_network, sample_scan
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.failures import Failure

PACKAGE = "CondDiffusionUAD"  # the folder of a checkout that the package lies in
START = "start"  # what precedes the first stage: Python itself


@dataclass(frozen=True)
class Detected:
    """One detection.

    Attributes:
        seconds: Of the processor, by stage.
        peak_mb: The most memory that the process held.
        folder: With its results.
    """

    seconds: dict[str, float]
    peak_mb: float
    folder: Path

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())


def detect(checkout: Path, options: Sequence[str], folder: Path) -> Detected:
    """Detect with a checkout's package. Raises Failure("trial_failed")."""
    command = [sys.executable, "-m", "conddiffusion_uad", "detect", *options, "--output", str(folder), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / PACKAGE)}
    marks, last = [(START, 0.0)], {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout or ():
            last = json.loads(line)
            if last["event"] == "stage":
                marks.append((last["name"], _computed(process.pid)))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failure("trial_failed", f"{checkout} cannot detect: {last.get('message')}", str(last.get("hint")))
    ends = [at for _, at in marks[1:]] + [usage.ru_utime + usage.ru_stime]
    seconds: dict[str, float] = {}
    for (name, begin), end in zip(marks, ends, strict=True):
        seconds[name] = seconds.get(name, 0.0) + end - begin
    return Detected(seconds, usage.ru_maxrss / 1000, folder)


def _computed(process: int) -> float:
    """Seconds that a running process has computed, on all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def agreement(one: Path, other: Path) -> dict[str, float]:
    """Dice coefficients of the brain masks and of all findings, and correlation of the heatmaps within the brain."""
    names = (result_files.BRAIN_MASK, result_files.SEGMENTATION, result_files.HEATMAP)
    masks, findings, maps = ([np.asarray(nibabel.load(at / name).dataobj) for at in (one, other)] for name in names)
    brain = (masks[0] > 0) | (masks[1] > 0)
    return {
        "brain, Dice": _dice(masks),
        "findings, Dice": _dice(findings),
        "heatmap, r": float(np.corrcoef(maps[0][brain], maps[1][brain])[0, 1]),
    }


def _dice(labels: Sequence[np.ndarray]) -> float:
    one, other = (label > 0 for label in labels)
    return 2.0 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)


def table(pairs: Sequence[tuple[Detected, Detected]]) -> list[str]:
    """Medians over the rounds, as lines of a table, then the medians of the rounds' ratios."""
    one, other = zip(*pairs, strict=True)
    lines = ["| stage | before | after |", "|---|---|---|"]
    for name in dict.fromkeys(stage for detected in (*one, *other) for stage in detected.seconds):
        values = (median(detected.seconds.get(name, 0.0) for detected in side) for side in (one, other))
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    totals, memory, beside = (
        [median(figure(detected) for detected in side) for side in (one, other)]
        for figure in (lambda d: d.total, lambda d: d.peak_mb, lambda d: beside_network(d.seconds))
    )
    ratios = [first.total / second.total for first, second in pairs]
    return [
        *lines,
        f"| in all | {totals[0]:.1f} | {totals[1]:.1f} |",
        f"| everything else by {NETWORK} | {beside[0]:.2f} | {beside[1]:.2f} |",
        f"| peak memory, MB | {memory[0]:.0f} | {memory[1]:.0f} |",
        f"before by after: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds)",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare two checkouts and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="FOLDER", help="before and after")
    parser.add_argument("--scan", default=sample_scan(), help="(default: the sample scan)")
    parser.add_argument("--contrast", default="auto", metavar="auto|T1|T2|FLAIR")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of both (default: %(default)s)")
    parser.add_argument("--more", nargs="*", default=[], metavar="OPTION", help="for both, such as --more=--bundle=X")
    chosen = parser.parse_args(arguments)
    options = [chosen.scan, "--contrast", chosen.contrast, "--device", "cpu", *chosen.more]
    with tempfile.TemporaryDirectory(prefix="conddiffusion-comparison-") as folder:
        places = [Path(folder) / name for name in ("before", "after")]
        pairs = []
        for _ in range(chosen.rounds):
            first, second = (
                detect(checkout, [*options, "--force"], place)
                for checkout, place in zip(chosen.checkouts, places, strict=True)
            )
            pairs.append((first, second))
            print(f"{first.total:.2f} s, {second.total:.2f} s", file=sys.stderr, flush=True)
        print("\n".join(table(pairs)))
        print(", ".join(f"{name} {value:.4f}" for name, value in agreement(*places).items()))


if __name__ == "__main__":
    main()
