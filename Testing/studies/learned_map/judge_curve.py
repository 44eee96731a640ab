"""The judgements of a learned map, with its learning curve, as a picture and as a table."""

from __future__ import annotations

import json
from pathlib import Path

from conddiffusion_uad.training.learned_map.batches import SCANS, SLICES
from conddiffusion_uad.training.learned_map.curve import CURVE, lines, plot

PICTURE = "judged.png"
_COLORS = {
    "plain": "tab:blue",
    "reconstructed": "tab:red",
    "twice x residual": "tab:green",
    "rank": "0.6",
    "heat": "0.3",
}
_SHOWN = ("plain", "reconstructed", "twice x residual")


def draw(run: Path) -> None:
    """Draw the loss and every figure of the judgements over the number of slices seen, the baselines as lines."""
    from matplotlib.figure import Figure

    judged = lines(run / "judged.jsonl")
    baselines = json.loads((run / "baselines.json").read_text(encoding="utf-8"))
    names = [name for name in judged[0] if name not in ("step", "map", "time")] if judged else []
    columns = 5
    rows = -(-(1 + len(names)) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns).ravel()
    slices = SCANS * SLICES
    plot(axes[0], lines(run / CURVE))
    for panel, name in zip(axes[1:], names, strict=False):
        for kind in _SHOWN:
            points = [(slices * e["step"], e[name]) for e in judged if e["map"] == kind and name in e]
            if not points:
                continue
            panel.plot(*zip(*points, strict=True), "o-", ms=3, color=_COLORS[kind], label=kind)
        for kind, figures in baselines.items():
            if name in figures:
                panel.axhline(figures[name], color=_COLORS[kind], ls="--" if kind == "rank" else ":", label=kind)
        panel.set_title(name, fontsize=9)
    for panel in axes[1 + len(names) :]:
        panel.set_axis_off()
    if names:
        axes[1].legend(fontsize=7)
    figure.savefig(run / PICTURE, dpi=80)


def table(run: Path, steps: list[int] | None = None) -> str:
    """The judgements as a Markdown table: a row a figure, a column a step and map, baselines first."""
    judged = [entry for entry in lines(run / "judged.jsonl") if steps is None or entry["step"] in steps]
    baselines = json.loads((run / "baselines.json").read_text(encoding="utf-8"))
    columns = {**baselines, **{f"{SCANS * SLICES * e['step'] / 1000:.0f}k {e['map']}": e for e in judged}}
    names = [name for name in judged[0] if name not in ("step", "map", "time")]
    rows = [["", *columns], ["---"] * (1 + len(columns))]
    rows += [[name, *(f"{c[name]:.3f}" if name in c else "-" for c in columns.values())] for name in names]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
