"""The learning curve of a training, as lines of JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conddiffusion_uad.training.learned_map.batches import SCANS, SLICES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE, PICTURE = "curve.jsonl", "curve.png"
_SMOOTHED = 25  # lines whose mean is drawn over them


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, none when there is no file."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def plot(axes: Axes, noted: Sequence[Mapping[str, Any]]) -> None:
    """Plot the loss of the lines of a curve, and its running mean, over the number of slices seen."""
    slices = [SCANS * SLICES * line["step"] for line in noted]
    loss = np.array([line["loss"] for line in noted])
    axes.plot(slices, loss, lw=0.5, color="0.7")
    if len(loss) > _SMOOTHED:
        mean = np.convolve(loss, np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")
        axes.plot(slices[_SMOOTHED - 1 :], mean, lw=1.2, color="tab:blue")
    axes.set_title("loss")


def draw(folder: Path) -> bool:
    """Draw the curve of a folder beside it; False when there is no matplotlib, which the engine does not require."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    plot(axes, lines(folder / CURVE))
    axes.set_xlabel("slices seen")
    figure.savefig(folder / PICTURE, dpi=100)
    return True
