"""How long a run still takes is told within a factor of three, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conddiffusion_uad.protocol.events import STAGES, Event, EventProgress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A run with these seconds of each stage, and what is told of it."""

    def __init__(self, seconds: Mapping[str, float], *, expected: Mapping[str, float] | None = STAGES) -> None:
        self.events: list[tuple[float, Event]] = []
        self.clock = Clock()
        emit = lambda event: self.events.append((self.clock.now, event))  # noqa: E731
        self.progress = EventProgress(emit, clock=self.clock, interval=0.0)
        for name, taken in seconds.items():
            self.progress.stage(name)
            if taken:
                self.advance(taken)
            if name == "load" and expected is not None:
                self.progress.expect(expected)

    def advance(self, seconds: float, until: float = 1.0) -> None:
        """Let a part of the current stage take so long."""
        for step in range(1, 21):
            self.clock.now += seconds / 20
            self.progress.advance(until * step / 20)

    @property
    def left(self) -> list[tuple[float, float]]:
        """When the time left was told, and what it was said to be."""
        told = [(at, event["eta_s"]) for at, event in self.events if event["event"] == "progress"]
        return [(at, left) for at, left in told if left is not None]

    @property
    def estimates(self) -> list[tuple[float, float]]:
        """When the time of the whole was told, and what it was said to be."""
        return [(at, event["seconds"]) for at, event in self.events if event["event"] == "estimate"]


BEFORE = list(STAGES)[: list(STAGES).index("register")]


@settings(max_examples=200, deadline=None)
@given(
    slower=st.floats(0.5, 8.0),
    errors=st.lists(st.floats(0.6, 1.3), min_size=len(STAGES), max_size=len(STAGES)),
    before=st.lists(st.floats(0.0, 40.0), min_size=len(BEFORE), max_size=len(BEFORE)),
)
def test_what_remains_is_told_within_a_factor_of_three(slower: float, errors: list[float], before: list[float]) -> None:
    """Of a computer that is slower or quicker than expected, and wrong about each stage besides; loading the model and
    stripping the skull may take any time."""
    taken = {name: slower * error * expected for (name, expected), error in zip(STAGES.items(), errors, strict=True)}
    run = Run({**taken, **dict(zip(BEFORE, before, strict=True))})
    end = run.clock.now
    assert len(run.left) > 12
    for at, left in run.left:
        assert end - at < 3 * left and left < 3 * (end - at)
    ((at, total),) = run.estimates
    assert at == run.left[0][0] and total == pytest.approx(at + run.left[0][1], abs=0.2)


def test_nothing_is_told_before_the_registration_is_over_nor_at_the_end() -> None:
    run = Run(STAGES)
    over = sum(STAGES[name] for name in [*BEFORE, "register"])
    assert run.left[0] == (pytest.approx(over), pytest.approx(sum(STAGES.values()) - over, abs=0.1))
    assert 1.0 < run.clock.now - run.left[-1][0] < 0.2 * run.clock.now


def test_a_quick_registration_does_not_promise_a_quick_reconstruction() -> None:
    """As when the other cores were free until then."""
    run = Run({**STAGES, "register": 0.8, "bias": 0.1, "resample": 0.1, "check": 0.2, "reconstruct": 17.0})
    assert run.left
    for at, left in run.left:
        assert run.clock.now - at < 3 * left and left < 3 * (run.clock.now - at)


def test_without_an_expectation_of_this_computer_nothing_is_told() -> None:
    run = Run(STAGES, expected=None)
    assert run.left == run.estimates == []


def test_stages_that_were_done_ahead_tell_nothing_of_the_rest() -> None:
    """As of the second of several scans, which is prepared while the first is examined."""
    ahead = dict.fromkeys(("orient", "strip", "register", "bias", "normalize", "resample"), 0.0)
    run = Run({**{name: 3 * expected for name, expected in STAGES.items()}, **ahead})
    for at, left in run.left:
        assert left == pytest.approx(run.clock.now - at, abs=0.1)
    assert run.left


def test_work_that_is_done_again_is_counted_again() -> None:
    """As when the memory did not suffice for so many slices at once."""
    begun = dict(list(STAGES.items())[: list(STAGES).index("reconstruct")])
    run = Run({**begun, "reconstruct": 0.0})
    run.advance(20 * STAGES["reconstruct"], until=0.5)
    again = run.clock.now
    run.advance(2 * STAGES["reconstruct"])
    after = [(at, left) for at, left in run.left if at > again]
    rest = 2 * sum(list(STAGES.values())[list(STAGES).index("score") :])
    for at, left in after:
        assert left == pytest.approx(run.clock.now - at + rest, rel=0.1)
    assert after
