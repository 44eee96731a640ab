"""What Slicer reads from the engine: any bytes become lines, and lines events, or are left aside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuzzing import json_values
from hypothesis import example, given
from hypothesis import strategies as st

from CondDiffusionUADLib.run.WorkerProcess import LineBuffer, readEvent


@example(data=b'{"event": "\xff\xc3\n{"event": "stage", "name": "\xc3\xbc"}\r\n\x80', cuts=[5, 12, 37, 38])
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5).map(sorted))
def test_lines_come_out_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    buffer, lines = LineBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        lines += buffer.feed(data[start:end])
    lines += buffer.rest()
    whole = LineBuffer()
    assert lines == whole.feed(data) + whole.rest()
    for line in lines:
        assert readEvent(line) is None or isinstance(readEvent(line), dict)


@given(st.dictionaries(st.sampled_from(["event", "fraction", "eta_s", "id", "name"]), json_values()))
def test_events_that_slicer_is_sent(event: dict[str, Any]) -> None:
    read = readEvent(json.dumps(event))
    if read is not None and read["event"] == "progress":
        assert 0 * read["fraction"] == 0 and (read.get("eta_s") is None or 0 * read["eta_s"] == 0)


@pytest.mark.parametrize("wrong", [{"fraction": 10**400}, {"fraction": 7}, {"eta_s": 10**400}, {"eta_s": -1}], ids=str)
def test_progress_that_cannot_be_shown_is_a_line_of_the_log(wrong: dict[str, float]) -> None:
    event = {"event": "progress", "fraction": 0.5, "eta_s": 3.0}
    assert readEvent(json.dumps(event)) == event
    assert readEvent(json.dumps({**event, **wrong})) is None
