"""Which images of one plane make a volume together."""

from __future__ import annotations

import pytest

from conddiffusion_uad.protocol.stacks import CONTRASTS, EVERY, TAGS, split

ECHOES = [{"echo time": "20", "time": "1"}, {"echo time": "90", "time": "1"}] * 3
TWICE = [0.0, 0.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("heights", "marks", "stacks"),
    [
        ([0, 2, 4], [{"echo time": "20"}, {"echo time": "20"}, {"echo time": "90"}], [([0, 1, 2], "")]),
        ([0, 1, 2, 3, 4, 5], ECHOES, [([0, 2, 4], "echo time"), ([1, 3, 5], "echo time")]),
        ([0, 1, 2, 3, 4, 9], ECHOES, [([0, 1, 2, 3, 4, 5], "")]),
        (TWICE, [{"echo": "1"}, {"echo": "2"}] * 2, [([0, 2], "echo"), ([1, 3], "echo")]),
        (TWICE, [{}, {"b-value": "1000"}] * 2, [([0, 2], "b-value"), ([1, 3], "b-value")]),
        (TWICE, [{"time": "7"}] * 4, [([0, 2], ""), ([1, 3], "")]),
        ([2.0, 0.0, 2.0, 0.0, 0.0], [{}] * 5, [([1, 0], ""), ([3, 2], ""), ([4], "")]),
    ],
)
def test_one_mark_tells_them_apart_or_none(heights: list[float], marks: list[dict], stacks: list) -> None:
    assert split(heights, marks) == stacks


def test_two_marks_together_tell_them_apart() -> None:
    marks = [{"echo": echo, "time": time} for echo in "12" for time in "12"]
    assert split([0.0] * 4, marks) == [([n], EVERY) for n in range(4)]


def test_what_tells_images_apart_is_known_to_dicom_and_in_enhanced_files() -> None:
    from pydicom.datadict import keyword_for_tag

    from conddiffusion_uad.io.dicom_file import keyword_for
    from conddiffusion_uad.io.dicom_frames import _IN_GROUPS

    assert [keyword_for(TAGS[name][0]) for name in ("echo time", "b-value")] == ["EchoTime", "DiffusionBValue"]
    assert all(keyword_for_tag(tag.replace(",", "")) for tag, _unit in TAGS.values())
    assert set(TAGS) - set(_IN_GROUPS) == {"echo"}, "an enhanced file has no number of the echo"
    assert set(CONTRASTS) <= set(TAGS)
