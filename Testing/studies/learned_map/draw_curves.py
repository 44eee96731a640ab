"""Draw the learning curve of a bundle's maps for its card: the loss over the slices seen, and figures if there are.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/draw_curves.py --run "all contrasts=RUN" \\
        --run T1=RUN_T1 --run T2=RUN_T2 --run FLAIR=RUN_FLAIR --changed 2720 FLAIR=6966 --output curves.png

A run for one contrast that began with a copy of another run is drawn from where it leaves that one. The loss is
smoothed by a Gaussian over steps, and cannot be compared across a step from which on all or one run ``--changed`` its
loss or its anomalies. Where a run's folder holds ``judged.jsonl``, the mean average precision over its sets is drawn
below.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from conddiffusion_uad.training.learned_map.batches import SCANS, SLICES
from conddiffusion_uad.training.learned_map.curve import CURVE, lines

_COLORS = {"T1": "tab:blue", "T2": "tab:orange", "FLAIR": "tab:green"}
_SMOOTHED = 4.0  # lines of a curve, of some 20 steps each
_THOUSAND = SCANS * SLICES / 1000  # slices of a step
Curve = tuple[np.ndarray, np.ndarray]
Change = tuple[str, int]  # name of a run, empty for all, and step


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", required=True, metavar="NAME=FOLDER", help="the first is of all")
    parser.add_argument("--changed", nargs="*", default=[], metavar="[NAME=]STEP", help="first with another loss")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    runs = {name: Path(folder) for name, _, folder in (run.partition("=") for run in options.run)}
    changes = [(name, int(step)) for name, _, step in (each.rpartition("=") for each in options.changed)]
    draw(runs, changes, options.output)


def draw(runs: Mapping[str, Path], changed: Sequence[Change], output: Path) -> None:
    """Draw the losses of some runs, and what was judged of them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    judged = {name: precision(lines(folder / "judged.jsonl")) for name, folder in runs.items()}
    judged = {name: curve for name, curve in judged.items() if len(curve[0])}
    figure = Figure(figsize=(8, 3 if not judged else 5.5), layout="constrained")
    axes = figure.subplots(1 + bool(judged), sharex=True, squeeze=False)[:, 0]
    for name, pieces in losses(runs, changed).items():
        for number, (steps, loss) in enumerate(pieces):
            style = {"color": _COLORS.get(name, "0.4"), "lw": 1.5}
            axes[0].plot(_THOUSAND * steps, loss, label=None if number else name, **style)
    for name, step in changed:
        axes[0].axvline(_THOUSAND * step, color=_COLORS.get(name, "0.7"), ls="--", lw=0.8, zorder=0)
    axes[0].set(yscale="log", ylabel="loss, smoothed")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
    axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[0].yaxis.set_minor_locator(NullLocator())
    for name, (steps, values) in judged.items():
        axes[1].plot(_THOUSAND * steps, values, "o-", ms=3, color=_COLORS.get(name, "0.4"), label=name)
        axes[1].set(ylabel="mean average precision")
    for axis in axes:
        axis.legend(fontsize=8, frameon=False)
    axes[-1].set_xlabel(
        "slices seen, thousands" + (" (dashed: another loss or other anomalies from here on)" if changed else "")
    )
    figure.savefig(output, dpi=100)


def losses(runs: Mapping[str, Path], changed: Sequence[Change]) -> dict[str, list[Curve]]:
    """Smoothed losses by step of each run, in pieces between the changes, without what it copied from the first."""
    result: dict[str, list[Curve]] = {}
    known: set[tuple[int, float]] = set()
    for name, folder in runs.items():
        own = _last_of_each_step(lines(folder / CURVE))
        fresh = {step: loss for step, loss in own.items() if (step, loss) not in known}
        known = known or set(own.items())
        result[name] = [
            smoothed(piece) for piece in _pieces(fresh, [step for run, step in changed if run in ("", name)]) if piece
        ]
    return result


def _last_of_each_step(entries: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Loss by step, increasing. A training that was set back has steps twice: the last counts."""
    last = {entry["step"]: float(entry["loss"]) for entry in entries}
    return dict(sorted(last.items()))


def _pieces(curve: Mapping[int, float], changed: Sequence[int]) -> list[dict[int, float]]:
    ends = [0, *sorted(changed), np.inf]
    return [{step: loss for step, loss in curve.items() if low <= step < high} for low, high in pairwise(ends)]


def smoothed(curve: Mapping[int, float]) -> Curve:
    """Steps, and the logarithmic mean of the losses near each."""
    loss = np.log(np.maximum(list(curve.values()), 1e-6))
    return np.array(list(curve)), np.exp(ndimage.gaussian_filter1d(loss, _SMOOTHED, mode="nearest"))


def precision(entries: Sequence[Mapping[str, Any]]) -> Curve:
    """Steps, and the mean over all sets of the average precision of the map with reconstructions."""
    shown = [entry for entry in entries if entry["map"] == "reconstructed"]
    means = [np.mean([value for key, value in entry.items() if key.startswith("AP ")]) for entry in shown]
    return np.array([entry["step"] for entry in shown]), np.array(means)


if __name__ == "__main__":
    main()
