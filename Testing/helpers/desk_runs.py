"""A run on a desk, from the click to its end, whatever happens between: what has to be so afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from desk import Desk

Wait = Callable[..., float]


def is_alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def begin(desk: Desk, wait_until: Wait, *mode: str) -> set[str]:
    """Click with this worker and wait until it works; returns the nodes before."""
    desk.worker(*mode)
    before = desk.nodes()
    desk.ui.detectButton.click()
    wait_until(lambda: desk.ui.progressBar.property("value") > 0, 20)
    assert desk.left() != [] and is_alive(desk.process)
    return before


def end(desk: Desk, wait_until: Wait, before: set[str], *words: str, seconds: float = 20) -> float:
    """Wait for the end; the scene is as it was, nothing is left, and these words are said."""
    took = wait_until(lambda: not desk.panel.run.busy, seconds)
    assert desk.nodes() == before
    assert desk.left() == []
    for word in words:
        assert word in desk.message, desk.message
    assert not desk.ui.progressArea.isVisibleTo(desk.widget.parent)
    return took
