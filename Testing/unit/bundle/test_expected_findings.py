"""What is promised about findings in healthy scans, and whether it holds."""

from contextlib import suppress

import numpy as np
import pytest
from scipy import ndimage

from conddiffusion_uad.bundle.expected_findings import findings, measure, promised
from conddiffusion_uad.protocol.expected_findings import MOST_BOUNDED, ExpectedFindings


def healthy(seed: int) -> np.ndarray:
    """A map with blobs of noise."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((24, 40, 40)), 1.5)
    return np.exp(8 * noise).astype(np.float32)


@pytest.mark.parametrize("expected", [0.5, 2.0])
def test_scans_that_were_not_counted_have_as_many_findings_as_promised(expected):
    counted = measure([healthy(seed) for seed in range(30)], 0.001, 0.005)
    threshold = counted.threshold(expected)
    made = np.mean([findings(healthy(seed), threshold, 0.001, 0.005).size for seed in range(100, 140)])
    assert expected / 2 < made < expected * 1.6


def test_few_scans_promise_what_each_has_where_the_others_have_so_many():
    thresholds = np.array([1.0, 2.0, 3.0, 4.0])
    counted = np.array([[4, 0, 0, 0], [2, 2, 1, 0], [3, 1, 0, 0]])
    told = promised(thresholds, counted, 0.01)
    # mean 1 at 2.0; where the others have 1 or less, the first has 0 (at 3.0), the second 2 (at 2.0), the third 1 (2.0)
    assert told.counts == pytest.approx((3, 1, 1 / 3, 1 / 3))
    assert promised(thresholds, counted[1:2], 0.01).counts == (2, 2, 1, 0), "nothing can be left out of one scan"


def test_scans_of_one_brain_are_left_out_together_and_count_as_one():
    thresholds = np.array([1.0, 2.0, 3.0, 4.0])
    counted = np.array([[4, 2, 0, 0], [4, 0, 0, 0], [2, 2, 1, 0], [3, 1, 0, 0]])
    told = promised(thresholds, counted, 0.01, brains=["a", "a", "b", "c"])
    alone = promised(thresholds, np.array([[4, 1, 0, 0], [2, 2, 1, 0], [3, 1, 0, 0]]), 0.01)
    assert told.counts == alone.counts != promised(thresholds, counted, 0.01).counts
    assert (told.scans, told.brains, alone.brains) == (4, 3, None)
    assert told.at(1.0, bounded=True) == pytest.approx((3 * told.counts[0] + MOST_BOUNDED) / 4)
    assert ExpectedFindings.from_json(told.to_json()) == told
    with pytest.raises(ValueError, match="4 healthy scans of 3 brains are too few"):
        told.threshold(0)
    with pytest.raises(ValueError, match="a scan of each"):
        ExpectedFindings.from_json({**told.to_json(), "brains": 5})


def test_a_bound_holds_on_average_over_new_brains():
    """Of five brains with two scans each, now and then one with many findings; nothing promised, nothing found."""
    thresholds, made, rng, asked = np.linspace(0, 12, 100), {True: [], False: []}, np.random.default_rng(1), 3.0
    for _ in range(200):
        peaks = rng.exponential(rng.choice([0.2, 2.0], (6, 1, 1), p=[0.85, 0.15]), (6, 2, 20))
        counted = (peaks[..., None] >= thresholds).sum(2)
        known = promised(thresholds, counted[:5].reshape(10, -1), 0.01, brains=list("aabbccddee"))
        for bounded, found in made.items():
            with suppress(ValueError):
                place = int(np.searchsorted(thresholds, known.threshold(asked, bounded=bounded)))
                found.append(np.minimum(counted[5, :, place], MOST_BOUNDED).mean())
    assert len(made[True]) > 100 and sum(made[True]) / 200 < asked
    assert np.mean(made[True]) < np.mean(made[False])


@pytest.mark.parametrize("asked", [1.0, 3.0])
def test_few_scans_promise_what_others_have_on_average(asked):
    thresholds, made = np.linspace(0, 30, 600), []
    rng = np.random.default_rng(0)
    for _ in range(300):  # scans that differ in scale, each peak of which is a finding from its height down
        peaks = [rng.exponential(rng.gamma(6, 0.2), 20) for _ in range(9)]
        counted = (np.array(peaks)[:, None] >= thresholds[:, None]).sum(-1)
        with suppress(ValueError):  # where one scan has so many more than all others that no threshold is left
            limit = promised(thresholds, counted[:8], 0.01).threshold(asked)
            made.append((peaks[8] >= limit).sum())
    assert len(made) >= 297
    assert 0.75 * asked < np.mean(made) < 1.15 * asked


def test_what_is_told_of_findings_from_a_volume_on_holds_for_larger_ones_only():
    counted = measure([healthy(0)], 0.001, 0.05)
    assert counted.covers(0.05) and counted.covers(0.05 - 1e-12) and counted.covers(1) and not counted.covers(0.049)


def test_fewer_findings_need_a_higher_threshold():
    counted = measure([healthy(seed) for seed in range(6)], 0.001, 0.005)
    thresholds = [counted.threshold(expected) for expected in (4, 2, 1, 0.5)]
    assert thresholds == sorted(thresholds) and thresholds[0] < thresholds[-1]
    with pytest.raises(ValueError, match="6 healthy scans are too few"):
        counted.threshold(0)


def test_a_promise_that_so_few_scans_cannot_give_is_not_given():
    counted = measure([healthy(seed) for seed in range(9)], 0.001, 0.005)
    with pytest.raises(ValueError, match="too few"):
        counted.threshold(1, bounded=True)
    asked = MOST_BOUNDED / 10 + 1
    assert counted.threshold(asked, bounded=True) >= counted.threshold(asked)


def test_findings_that_flow_together_do_not_make_a_low_threshold_look_quiet():
    found = np.zeros((8, 20, 20), np.float32)
    found[:, 2:18, 2:18] = 0.2
    for x in (3, 8, 13):
        found[2:5, 5:9, x : x + 3] = 0.9
    counted = measure([found], 0.001, 0.005)
    assert findings(found, 0.1, 0.001, 0.005).size == 1
    assert counted.counts[0] == 3, "at 0.2 there is one finding, but there are three above"


def test_tiny_findings_do_not_count():
    found = np.zeros((4, 8, 8), np.float32)
    found[0, 0, 0] = found[2:4, 2:6, 2:6] = 1
    assert findings(found, 0.5, 0.001, 0.002).tolist() == pytest.approx([0.032])


def test_a_score_tells_how_many_healthy_scans_have_one_as_large():
    maps = [healthy(seed) for seed in range(8)]
    counted = measure(maps, 0.001, 0.005)
    assert len(counted.largest) == 8 and counted.usual(0) == 1
    assert counted.usual(counted.largest[-2]) == pytest.approx(2 / 8) and counted.usual(1e9) == 0
    assert counted.largest[0] == min(found.max() for found in maps)


def test_what_is_expected_at_a_threshold_is_what_led_to_it():
    counted = measure([healthy(seed) for seed in range(6)], 0.001, 0.005)
    threshold = counted.threshold(2)
    assert counted.at(threshold) <= 2 < counted.at(np.nextafter(threshold, 0))
    assert counted.at(threshold, bounded=True) == pytest.approx((6 * counted.at(threshold) + MOST_BOUNDED) / 7)
    assert counted.at(0, bounded=True) <= MOST_BOUNDED < counted.at(0)


def test_json_round_trip_and_refusal():
    counted = measure([healthy(0)], 0.001, 0.005)
    assert ExpectedFindings.from_json(counted.to_json()) == counted
    with pytest.raises(ValueError, match="increase"):
        ExpectedFindings.from_json({**counted.to_json(), "thresholds": [1, 2], "counts": [0, 1]})
    with pytest.raises(ValueError, match="no healthy maps"):
        measure([np.zeros((2, 2, 2))], 1.0, 1.0)
