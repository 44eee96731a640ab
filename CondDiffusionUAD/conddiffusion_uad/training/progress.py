"""What a training tells while it runs: lines and a progress bar to a person, curves to TensorBoard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conddiffusion_uad.app.progress_line import ProgressLine

_REDRAW_SECONDS = 0.2
_LINE_STEPS = 50  # between two lines where no bar can be drawn
_MISSING = "TensorBoard is not installed, so there is no log of it (pip install tensorboard)"


@dataclass(frozen=True)
class Status:
    """Where a training is.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: Mean of the last steps.
        rate: Slices per second.
        left: Seconds that the rest will take.
        waiting: Share of the time in which what is to be learned from was waited for.
    """

    step: int
    steps: int
    loss: float
    rate: float
    left: float
    waiting: float

    def __str__(self) -> str:
        speed = f"{self.rate:.1f} slices/s, {self.waiting:.0%} waiting for data"
        return f"step {self.step}/{self.steps}  loss {self.loss:.4f}  {speed}  {duration(self.left)} left"


class TrainingLog:
    """Tells nothing; what others do is in the subclasses."""

    def __call__(self, line: str) -> None:
        """Tell a line."""

    def status(self, status: Status) -> None:
        """Tell how far the training is."""

    def validated(self, step: int, loss: float, best: bool) -> None:
        """Tell the loss of a validation."""


class ConsoleLog(TrainingLog):
    """Tells a person on stderr, with a bar if it is a terminal; and TensorBoard, if a folder is given."""

    def __init__(self, title: str, board: Path | None = None) -> None:
        self._title = title
        self._line = ProgressLine()
        self._drawn = -1.0  # when
        self._board = _board(board) if board else None
        if board and not self._board:
            self(_MISSING)

    def __call__(self, line: str) -> None:
        self._line.say(line)

    def status(self, status: Status) -> None:
        finished = status.step == status.steps
        if status.step % _LINE_STEPS == 0 or finished:
            self._curve("loss", status.loss, status.step)
            self._curve("slices per second", status.rate, status.step)
            self._curve("share of waiting for data", status.waiting, status.step)
        if self._line.live and (finished or time.monotonic() - self._drawn > _REDRAW_SECONDS):
            self._line.draw(self._title, status.step / status.steps, str(status))
            self._drawn = time.monotonic()
        elif not self._line.live and (status.step % _LINE_STEPS == 0 or finished):
            self(str(status))

    def validated(self, step: int, loss: float, best: bool) -> None:
        self._curve("validation loss", loss, step)
        self(f"step {step}: validation loss {loss:.4f}{' (best)' if best else ''}")

    def _curve(self, name: str, value: float, step: int) -> None:
        if self._board:
            self._board.add_scalar(name, value, step)
            self._board.flush()


def _board(folder: Path) -> Any:
    """TensorBoard's writer, or None when it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, "2:01:05"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
