"""The score that a finding starts at."""

from types import SimpleNamespace

import pytest

from conddiffusion_uad.detection import sensitivity
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import BadInput

KNOWN = ExpectedFindings((1.0, 2.0, 3.0, 4.0), (12.0, 3.0, 0.9, 0.4), 5, 0.05, (3.5,))
BUNDLE = SimpleNamespace(name="trusted", expected={"T1": KNOWN})


def test_maps_that_are_not_those_that_were_calibrated_keep_the_threshold_and_lose_the_promise() -> None:
    config = SimpleNamespace(timesteps=(100,))
    told = [
        sensitivity.promise(
            SimpleNamespace(config=config, as_calibrated=same, **vars(BUNDLE)), "T1", 3.0, None, 0.05, 4.0
        )
        for same in (True, False)
    ]
    assert [each["at_threshold"] for each in told] == [0.9, None]
    assert told[1]["bound"] is None is told[1]["healthy_as_large"] and told[0]["healthy_as_large"] is not None


@pytest.mark.parametrize(
    ("contrast", "asked", "score"),
    [
        ("T1", {}, 4.0),
        ("T1", {"expected_findings": 1}, 3.0),
        ("T1", {"expected_findings": 3}, 2.0),
        ("T1", {"expected_findings": 0.5}, 4.0),
        ("T1", {"healthy_flagged": 0.001}, 3.0),
        ("T2", {}, 2.0),
        ("T2", {"healthy_flagged": 0.1}, 1.0),
    ],
)
def test_the_promise_decides_unless_tissue_was_asked_for(contrast: str, asked: dict[str, float], score: float) -> None:
    assert sensitivity.threshold(BUNDLE, contrast, **asked) == pytest.approx(score)


@pytest.mark.parametrize(
    ("contrast", "expected", "reason"), [("T1", 0.1, "too few to promise 0.1"), ("T2", 1, "does not know")]
)
def test_what_cannot_be_promised_is_refused(contrast: str, expected: float, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        sensitivity.threshold(BUNDLE, contrast, expected_findings=expected)
    assert caught.value.code == "bad_option"


def test_the_bound_decides_where_it_is_asked_for() -> None:
    """Of five brains: (5 mean + 10) / 6, which is 4.17 at score 2 and 2.42 at score 3."""
    assert sensitivity.threshold(BUNDLE, "T1", expected_findings=4.2, bounded=True) == 2.0
    assert sensitivity.threshold(BUNDLE, "T1", expected_findings=4.1, bounded=True) == 3.0
    with pytest.raises(BadInput, match="cannot be 1: 5 healthy scans are too few") as caught:
        sensitivity.threshold(BUNDLE, "T1", expected_findings=1, bounded=True)
    assert "--bounded" in caught.value.hint
    for contrast in ("T1", "T2"):
        with pytest.raises(BadInput, match="--bounded needs --expected-findings"):
            sensitivity.threshold(BUNDLE, contrast, bounded=True)
