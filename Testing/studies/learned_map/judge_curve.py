"""The learning curve of a learned map as a picture and as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conddiffusion_uad.training.learned_map.batches import SCANS, SLICES
from conddiffusion_uad.training.learned_map.loop import CURVE

PICTURE = "curve.png"
_COLORS = {
    "plain": "tab:blue",
    "reconstructed": "tab:red",
    "twice x residual": "tab:green",
    "rank": "0.6",
    "heat": "0.3",
}
_SHOWN = ("plain", "reconstructed", "twice x residual")


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, none when there is no file."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def draw(run: Path) -> None:
    """Draw the loss and every figure of the judgements over the number of slices seen, the baselines as lines."""
    from matplotlib.figure import Figure

    judged, loss = lines(run / "judged.jsonl"), lines(run / CURVE)
    baselines = json.loads((run / "baselines.json").read_text(encoding="utf-8"))
    names = [name for name in judged[0] if name not in ("step", "map", "time")] if judged else []
    columns = 5
    rows = -(-(1 + len(names)) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns).ravel()
    slices = SCANS * SLICES
    axes[0].plot([slices * entry["step"] for entry in loss], [entry["loss"] for entry in loss], lw=0.8)
    axes[0].set_title("loss")
    for plot, name in zip(axes[1:], names, strict=False):
        for kind in _SHOWN:
            points = [(slices * e["step"], e[name]) for e in judged if e["map"] == kind and name in e]
            if not points:
                continue
            plot.plot(*zip(*points, strict=True), "o-", ms=3, color=_COLORS[kind], label=kind)
        for kind, figures in baselines.items():
            if name in figures:
                plot.axhline(figures[name], color=_COLORS[kind], ls="--" if kind == "rank" else ":", label=kind)
        plot.set_title(name, fontsize=9)
    for plot in axes[1 + len(names) :]:
        plot.set_axis_off()
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
