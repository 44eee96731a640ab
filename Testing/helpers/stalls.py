"""Measures how long the event loop of Qt is away."""

from __future__ import annotations

import time

from fair_clock import is_crowded


class Stalls:
    """Measures how long the event loop is away: a timer that should fire every few milliseconds tells.

    Attributes:
        longest: By the clock, in milliseconds.
        longest_work: The most this thread itself computed meanwhile, in milliseconds.
    """

    def __init__(self) -> None:
        import qt

        self.longest = self.longest_work = 0.0
        self._last, self._last_work = time.perf_counter(), time.thread_time()
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(2)

    def _tick(self) -> None:
        now, work = time.perf_counter(), time.thread_time()
        self.longest = max(self.longest, 1000 * (now - self._last))
        self.longest_work = max(self.longest_work, 1000 * (work - self._last_work))
        self._last, self._last_work = now, work

    def forgive(self) -> None:
        """The time since the last tick was the test's own."""
        self._last, self._last_work = time.perf_counter(), time.thread_time()

    def stop(self) -> str:
        """Stop measuring; returns what was measured."""
        self._timer.stop()
        return f"longest stall {self.longest:.0f} ms, of which computing {self.longest_work:.0f} ms"

    @property
    def counted(self) -> float:
        """The stall that is to be judged: by the clock, unless other programs keep the processors busy."""
        return self.longest_work if is_crowded() else self.longest
