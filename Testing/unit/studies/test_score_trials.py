"""What is tried on the maps of a bundle: one person's scans, the healthy part, and a table."""

import numpy as np
import pytest
import score_trials as trials
from score_trials import Scan

from conddiffusion_uad.training.data.healthy_bank import FINE

SIZE = FINE.size[::-1]


def scan(group: str, person: str, height: float = 4.0, scale: float = 1.0) -> Scan:
    """A noisy map with a high place of 8 x 16 x 16 mm, where a patient has a lesion."""
    mask = np.zeros(SIZE, bool)
    mask[30:50, 40:150, 30:130] = True
    found = mask * scale * np.random.default_rng(len(person)).random(SIZE, np.float32)
    place = np.zeros(SIZE, bool)
    place[38:42, 80:96, 90:106] = True
    found[place] = height
    return Scan(
        group, person, found.astype(np.float32), mask, (place if group != "healthy" else place & False).astype(np.int16)
    )


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("healthy_1025", "1005"),
        ("implanted_1005", "1005"),
        ("healthy_IXI048_as_T2", "IXI048"),
        ("healthy_labels_20_T2", "labels_20"),
        ("mslub_07_T2", "mslub_07_T2"),
    ],
)
def test_cases_of_one_person_are_told_by_their_names(name, who):
    assert trials.person(name) == who


def test_the_prior_is_that_of_other_healthy_people_alone():
    scans = {"a": scan("healthy", "a"), "b": scan("healthy", "b", 0.5), "sick": scan("lgg", "c")}
    place = (40, 88, 98)
    taken = {name: scans[name].found[place] - trials.lowered(name, scans)[place] for name in scans}
    assert taken["sick"] > 1 and taken["b"] == pytest.approx(0.5), "no further than to zero"
    assert taken["a"] < 0.1


def test_a_scan_is_standardized_by_its_lower_scores():
    scans = {"a": scan("healthy", "aa"), "b": scan("healthy", "bb"), "wide": scan("lgg", "cc", scale=2.0)}
    made = {name: trials.standardized(name, scans) for name in scans}
    assert np.array_equal(made["a"], scans["a"].found * scans["a"].mask) or np.allclose(
        made["a"], scans["a"].found, atol=0.02
    )
    assert made["wide"][40, 88, 98] == pytest.approx(2.0, abs=0.05), "half of 4, as its other scores are twice as large"


def test_a_table_has_a_row_for_each_group(capsys):
    scans = {f"h{k}": scan("healthy", "x" * k, 1.0) for k in range(1, 6)} | {"sick": scan("lgg", "c")}
    trials.show("as it is", scans, {name: each.found for name, each in scans.items()})
    title, group, _, precision, dice, best, lesions, found, false, false_ml = (
        cell.strip() for cell in capsys.readouterr().out.strip().strip("|").split("|")
    )
    assert (title, group, lesions, found, false) == ("as it is", "lgg (1)", "1", "1", "0")
    assert float(precision) == float(best) == 1 and 0.9 < float(dice) <= 1 and float(false_ml) == 0
