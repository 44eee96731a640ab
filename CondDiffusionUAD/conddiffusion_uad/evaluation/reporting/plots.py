"""The plots of a report, each a self-contained SVG, from the values that `summary.py` documents.

Needs matplotlib, which is not among the engine's requirements: nothing here imports it before a plot is drawn.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from conddiffusion_uad.evaluation.record import MODEL, Record
from conddiffusion_uad.evaluation.reporting import missing
from conddiffusion_uad.evaluation.reporting.table import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Mapping[str, Any]

# Okabe and Ito's colors, told apart in every common kind of color blindness; the judged method has the first.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#7F7F7F")
DASHES = ((), (5, 1.5), (1.2, 1.2), (5, 1.5, 1.2, 1.5))  # a second mark, for prints in gray
HEALTHY, LESION = "#7F7F7F", "#D55E00"
SIZE = (4.4, 3.5)  # inches
_LEAST_RECALL = 0.02  # below, precision jumps with single voxels; it does not set the scale
_MANY = 200  # cases from which on their points are drawn as one bitmap
_REFERENCE = {"color": "black", "linewidth": 1, "linestyle": ":"}  # what a method is compared with
_SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",  # a computer that lacks the font shows the same
    "svg.hashsalt": "conddiffusion-uad",  # the same plot, the same bytes
}


@dataclass(frozen=True)
class Style:
    """How a method is drawn in every plot: a color, and dashes as lengths in units of the line's width."""

    color: str
    dashes: tuple[float, ...]


def styles(methods: Sequence[str], main: str) -> dict[str, Style]:
    """The style of each method; solid and blue for the judged one."""
    others = [name for name in methods if name != main]
    result = {main: Style(COLORS[0], DASHES[0])}
    for place, name in enumerate(others):
        result[name] = Style(COLORS[1 + place % (len(COLORS) - 1)], DASHES[1 + place % (len(DASHES) - 1)])
    return result


def precision_recall(group: Values, main: str) -> str:
    """Precision over recall of all methods, over all voxels of the labeled scans, and the prevalence."""
    with canvas("Precision and recall, all voxels pooled") as (figure, axes):
        prevalence = group["methods"][main]["pooled"]["prevalence"]
        axes.axhline(prevalence, **_REFERENCE, label=f"prevalence {percent(prevalence)}")
        highest = prevalence
        for name, style, values in _methods(group, main):
            recall, precision = (np.array(values["curves"]["precision_recall"][key]) for key in ("recall", "precision"))
            axes.plot(recall, precision, drawstyle="steps-pre", **_line(style, name == main))
            highest = max(highest, precision[recall > _LEAST_RECALL].max())
        axes.set(xlabel="Recall (share of lesion voxels flagged)", ylabel="Precision", xlim=(0, 1))
        axes.set_ylim(0, min(1.02, 1.3 * highest))
        axes.legend(fontsize=8, loc="upper right")
        return to_svg(figure)


def froc(group: Values, main: str) -> str:
    """Recall of lesions over false findings a scan, as the threshold falls; a dot at the label-free threshold."""
    with canvas("Lesions found and false findings (FROC)") as (figure, axes):
        least, most = math.inf, 1.0
        for name, style, values in _methods(group, main):
            places, recalls = _coordinates(before_merging(values["froc"]))
            least, most = min(least, *places), max(most, *places)
            axes.plot(places, recalls, **_line(style, name == main))
            at = [point for point in values["froc"] if point["threshold"] == values["threshold"]]
            axes.plot(*_coordinates(at), "o", color=style.color, markersize=5)
        axes.set_xscale("symlog", linthresh=0.1, linscale=0.25)
        axes.set(xlim=(0 if least < 0.1 else 0.8 * least, 1.2 * most), ylim=(0, 1.02))
        axes.set(xlabel="False findings per scan", ylabel="Recall of lesions")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        return to_svg(figure)


def before_merging(points: Sequence[Values]) -> Sequence[Values]:
    """The part of a FROC curve, in the order of its thresholds, that begins at its most false findings.

    Where the threshold is lower still, findings grow together: their number falls though more is flagged.
    """
    most = max(range(len(points)), key=lambda place: points[place]["false_findings"])
    return points[most:]


def _coordinates(points: Sequence[Values]) -> tuple[list[float], list[float]]:
    return [point["false_findings"] for point in points], [point["recall"] for point in points]


def scores(group: Values, main: str) -> str:
    """Distribution of the judged method's scores in healthy and in lesion voxels of the labeled scans."""
    with canvas("Scores of healthy and of lesion voxels") as (figure, axes):
        curve = group["methods"][main]["curves"]["scores"]
        edges = np.array(curve["edges"])
        axes.stairs(curve["healthy"], edges, fill=True, color=HEALTHY, alpha=0.35)
        axes.stairs(curve["healthy"], edges, baseline=None, color=HEALTHY, label="healthy voxels")
        axes.stairs(curve["lesion"], edges, baseline=None, color=LESION, linewidth=1.8, label="lesion voxels")
        if main == MODEL:
            axes.plot(edges, math.log(10) * 10**-edges, **_REFERENCE, label="healthy, if calibrated")
        if main == MODEL:
            threshold = group["methods"][main]["threshold"]
            axes.axvline(threshold, color="black", linewidth=1, linestyle="--", label=f"threshold {threshold:.3g}")
        shown = [value for name in ("healthy", "lesion") for value in curve[name] if value > 0]
        axes.set(yscale="log", xlim=(edges[0], edges[-1]), ylim=(max(min(shown) / 2, 1e-6), 3 * max(shown)))
        axes.set(xlabel="Anomaly score" if main == MODEL else "Score", ylabel="Share of voxels per unit of score")
        axes.legend(fontsize=8, loc="upper right")
        return to_svg(figure)


def calibration(group: Values, main: str) -> str:
    """Share of healthy voxels above a score, as observed in healthy scans, over the share that the score means."""
    with canvas("Calibration in healthy scans") as (figure, axes):
        curve = group["methods"][main]["curves"]["calibration"]
        expected = 10 ** -np.array(curve["score"])
        floor = expected[-1] / 10
        low, mean, high = (np.maximum(curve[name], floor) for name in ("low", "mean", "high"))
        axes.plot(expected, expected, **_REFERENCE, label="calibrated")
        axes.fill_between(expected, low, high, color=COLORS[0], alpha=0.2, linewidth=0, label="5 to 95 % of scans")
        axes.plot(expected, mean, color=COLORS[0], linewidth=2, label="mean of scans")
        axes.set(xscale="log", yscale="log", xlim=(expected[-1], expected[0]), ylim=(floor, 1))
        axes.set(xlabel="Expected share of healthy voxels above", ylabel="Observed share of healthy voxels above")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axes.legend(fontsize=8, loc="upper left")
        return to_svg(figure)


def recall_by_size(group: Values, main: str) -> str:
    """Share of lesions found at the label-free threshold by size: bars of the judged method, dots of the others."""
    with canvas("Lesions found, by size") as (figure, axes):
        names = list(group["methods"])
        for name, style, values in _methods(group, main):
            known = [(i, size) for i, size in enumerate(values["lesions"]["by_size"]) if size["total"]]
            places, recalls = np.array([i for i, _ in known]), [size["hits"] / size["total"] for _, size in known]
            if name == main:
                axes.bar(places, recalls, 0.75, color=style.color, alpha=0.3, edgecolor=style.color)
            else:
                shift = (names.index(name) + 0.5) / len(names) * 0.7 - 0.35
                axes.plot(places + shift, recalls, "o", color=style.color, markersize=4.5, clip_on=False)
        sizes = group["methods"][main]["lesions"]["by_size"]
        axes.set_xticks(range(len(sizes)), [f"{size['size']}\n{size['hits']} of {size['total']}" for size in sizes])
        axes.grid(axis="x", visible=False)
        axes.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(0, 1.05))
        axes.set(xlabel="Volume of the lesion; found of all", ylabel="Recall of lesions")
        return to_svg(figure)


def average_precision(records: Sequence[Record], methods: Sequence[str], main: str) -> str:
    """Average precision of every scan by method; a thin line joins the values of a scan, a bar is the median."""
    cases = np.array([[record.methods[name].average_precision for name in methods] for record in records], float)
    cases = cases[~np.isnan(cases).any(axis=1)]
    look = styles(methods, main)
    with canvas("Average precision of each scan", 0.9 + 0.36 * len(methods)) as (figure, axes):
        rows, most = np.arange(len(methods)), min(1.0, 1.1 * cases.max(initial=0.01))
        places = rows[:, None] + np.random.default_rng(0).uniform(-0.16, 0.16, len(cases))
        axes.set_rasterization_zorder(2 if len(cases) > _MANY else 0)
        faint = min(0.6, 20 / max(len(cases), 1))
        axes.plot(cases.T, places, color="#B0B0B0", linewidth=0.5, alpha=faint, zorder=1)
        for row, name in enumerate(methods):
            dots = {"color": look[name].color, "markersize": 3.2, "alpha": 0.7, "markeredgewidth": 0}
            axes.plot(cases[:, row], places[row], "o", **dots, zorder=1.5)
            axes.plot([np.median(cases[:, row])] * 2, [row - 0.32, row + 0.32], color="black", linewidth=2)
        axes.set_yticks(rows, methods)
        axes.grid(axis="y", visible=False)
        axes.set(xlim=(-0.01 * most, 1.02 * most), ylim=(len(methods) - 0.5, -0.5), xlabel="Average precision")
        return to_svg(figure)


@contextmanager
def sheet(width: float, height: float) -> Iterator[Figure]:
    """An empty figure in the report's style, of a size in inches. Raises Failure when matplotlib is missing."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("matplotlib") from error
    with matplotlib.rc_context(_SETTINGS):
        yield Figure((width, height), layout="constrained")


@contextmanager
def canvas(title: str, height: float = SIZE[1]) -> Iterator[tuple[Figure, Axes]]:
    """An empty plot. Raises Failure when matplotlib is missing."""
    with sheet(SIZE[0], height) as figure:
        yield figure, figure.add_subplot(title=title)


def to_svg(figure: Figure) -> str:
    """The figure as the text of an SVG file, the same for the same figure."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, dpi=200)
    return text.getvalue()


def _methods(group: Values, main: str) -> Iterator[tuple[str, Style, Values]]:
    """Name, style and figures of each method, the judged one last: on top of the others."""
    for name, style in reversed(styles(list(group["methods"]), main).items()):
        yield name, style, group["methods"][name]


def _line(style: Style, foremost: bool) -> dict[str, Any]:
    return {"color": style.color, "linewidth": 2.2 if foremost else 1.3, "dashes": style.dashes or (None, None)}
