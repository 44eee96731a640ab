"""Curves of a method's figures over the severity of a corruption: a panel for each figure and corruption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.reporting import plots
from conddiffusion_uad.evaluation.reporting.shifts import entry
from conddiffusion_uad.evaluation.reporting.table import percent
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = Mapping[str, Any]

FIGURES = {
    "average_precision": "Average precision",
    "flagged_fraction": "Healthy brain flagged",
    "correlation": "Correlation with the\nheatmap as it was",
}
CAPTION = "A ring is the scan as it is, a cross at the top a level at which scans were refused."
_PANEL = (1.75, 1.7)  # inches
_LEAST_FLAGGED = 1e-4  # of the healthy brain; less is drawn there


def curves(group: Values) -> str | None:
    """All panels of a data set and contrast as SVG: a row for each figure, a column for each corruption.

    The levels of a corruption stand in the order of their size; a ring marks the scan as it is. Bands are 95 %
    intervals where there are patients enough. A cross at the top marks levels at which scans were refused.

    Returns:
        None when no corruption with levels was tried.

    Raises:
        Failure: matplotlib is missing.
    """
    names = [name for name in CORRUPTIONS if any(each["corruption"] == name for each in group["shifts"])]
    if not names:
        return None
    figures = [name for name in FIGURES if group["labeled_scans"] or name != "average_precision"]
    with plots.sheet(0.6 + _PANEL[0] * len(names), 0.4 + _PANEL[1] * len(figures)) as figure:
        grid = figure.subplots(len(figures), len(names), sharex="col", sharey="row", squeeze=False)
        for row, what in enumerate(figures):
            for column, name in enumerate(names):
                _panel(grid[row, column], group, name, what)
            grid[row, 0].set_ylabel(FIGURES[what])
            _scale(grid[row, 0], what)
        for column, name in enumerate(names):
            grid[0, column].set_title(name.capitalize())
            grid[-1, column].set_xlabel(CORRUPTIONS[name].parameter, fontsize=8)
        return plots.to_svg(figure)


def _panel(axes: Axes, group: Values, name: str, what: str) -> None:
    steps = [(each["level"], each) for each in group["shifts"] if each["corruption"] == name]
    steps = sorted([(CORRUPTIONS[name].clean, entry(group, CLEAN)), *steps], key=lambda step: step[0])
    places = np.arange(len(steps))
    methods = list(entry(group, CLEAN)["methods"])
    for method, style in reversed(plots.styles(methods, MODEL).items()):
        mean, low, high = (
            np.array([_value(shift, method, what, part) for _, shift in steps], float)
            for part in ("mean", "low", "high")
        )
        width = 2.0 if method == MODEL else 1.2
        axes.plot(places, mean, color=style.color, linewidth=width, dashes=style.dashes or (None, None), marker=".")
        axes.fill_between(places, low, high, color=style.color, alpha=0.15, linewidth=0)
        clean = [place for place, (_, shift) in enumerate(steps) if shift["corruption"] == CLEAN]
        axes.plot(clean, mean[clean], "o", color=style.color, markerfacecolor="white", markersize=5)
    refused = [place for place, (_, shift) in enumerate(steps) if shift["refused"]]
    axes.plot(refused, [0.97] * len(refused), "x", color="black", transform=axes.get_xaxis_transform(), markersize=5)
    axes.set_xticks(places, [f"{level:g}" for level, _ in steps], fontsize=7)
    axes.set_xlim(-0.4, len(steps) - 0.6)
    axes.tick_params(axis="y", labelsize=8)


def _value(shift: Values, method: str, what: str, part: str) -> float:
    value = shift["methods"].get(method, {}).get(what, {}).get(part)
    if value is None:
        return float("nan")
    return max(value, _LEAST_FLAGGED) if what == "flagged_fraction" else value


def _scale(axes: Axes, what: str) -> None:
    if what == "flagged_fraction":
        axes.set_yscale("log")
        axes.set_ylim(_LEAST_FLAGGED, 1)
        axes.yaxis.set_major_formatter(lambda value, _: percent(value))
        axes.minorticks_off()
    elif what == "average_precision":
        axes.set_ylim(bottom=0)
    else:
        axes.set_ylim(top=1.02)
