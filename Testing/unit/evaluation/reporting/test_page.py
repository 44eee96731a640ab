import base64
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
import synthetic_evaluation

from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import page as pages
from conddiffusion_uad.evaluation.reporting import plots, tables
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN, interval, percent, probability
from conddiffusion_uad.protocol.failures import RESEARCH_USE, Failure

VOID = {"meta", "img", "path"}
Values = dict[str, Any]


class Checker(HTMLParser):
    """Follows the tags of a page: that all are closed in order, what is told in words, and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.loaded: list[str] = []
        self.images: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.loaded += [str(values[name]) for name in ("src", "href") if name in values]
        if tag == "img":
            assert values["alt"]
            self.images.append(values["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def picture(record: str) -> bytes:
    return f"a picture of {record}".encode()


@pytest.fixture(scope="module")
def made() -> tuple[list[Record], Values]:
    records, counts = synthetic_evaluation.evaluation(14)
    return records, summarize(records, lambda *key: counts[key])


@pytest.fixture(scope="module")
def text(made: tuple[list[Record], Values]) -> str:
    return pages.page(synthetic_evaluation.about(), *made, picture)


@pytest.fixture(scope="module")
def page(text: str) -> Checker:
    return Checker(text)


def test_the_page_loads_nothing_and_runs_nothing(page: Checker, text: str) -> None:
    assert page.loaded and all(source.startswith("data:image/") for source in page.loaded)
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert "default-src 'none'" in text
    assert "url(" not in text and "@import" not in text


def test_research_use_is_stated_first_and_last(page: Checker) -> None:
    told = page.text.split("</style>")[-1]
    assert told.count(RESEARCH_USE) == 2
    assert told.endswith(f"{RESEARCH_USE}.")


def test_the_page_says_what_was_evaluated(page: Checker) -> None:
    about = synthetic_evaluation.about()
    for part in (about["bundles"][0]["sha256"], *about["commands"], about["date"], "healthy_flagged 0.01", "cpu, fp32"):
        assert part in page.text
    assert "seg.nii.gz: It is on another grid." in page.text and "python 3.11.7" in page.text
    assert "native: judged on each scan's own grid" in page.text
    assert "mslub T2: 14 patients, 14 labeled scans; ixi T1: 7 patients, 7 healthy scans" in page.text


def test_every_scan_failure_and_note_is_listed(page: Checker, made: tuple[list[Record], Values]) -> None:
    for record in made[0]:
        assert record.id in page.text
    assert "mslub-99-T2 no_brain The scan has no brain." in page.text
    assert "mslub-00-T2 note The label lay on another grid." in page.text


def test_each_plot_is_there_for_the_scans_that_it_needs(page: Checker) -> None:
    plotted = [name for name in page.images if not name.startswith("Pictures of")]
    assert [name for name in plotted if name.startswith("ixi")] == [
        "ixi T1: Observed over expected share of flagged healthy voxels"
    ]
    assert len([name for name in plotted if name.startswith("mslub")]) == 5


def test_the_gallery_begins_with_the_worst_scan_and_goes_on_with_the_best(
    page: Checker, made: tuple[list[Record], Values]
) -> None:
    strips = [name.removeprefix("Pictures of ") for name in page.images if name.startswith("Pictures of mslub")]
    labeled = [record for record in made[0] if record.labeled]
    order = [r.id for r in sorted(labeled, key=lambda r: r.methods["model"].average_precision)]
    assert strips == order[:6] + order[:-7:-1]
    assert "The pictures of the other 2 lie in the folder 'cases'." in page.text


def test_a_page_without_pictures_is_a_page(made: tuple[list[Record], Values]) -> None:
    records, summary = made
    healthy = {**summary, "groups": [group for group in summary["groups"] if group["healthy_scans"]]}
    bare = Checker(pages.page({}, [r for r in records if not r.labeled], healthy, lambda _: None))
    assert len(bare.images) == 1
    assert "No scan failed." in bare.text


def test_text_from_outside_is_only_text() -> None:
    evil = "<script>alert('x')</script>&\"<img src=https://example.org>"
    records, counts = synthetic_evaluation.evaluation(4)
    records = [replace(r, notes=[evil], dataset=evil, patient=evil) for r in records if not r.labeled]
    about = {
        **synthetic_evaluation.about(),
        "commands": [evil],
        "failures": [{"id": evil, "code": evil, "message": evil}],
    }
    summary = summarize(records, lambda *key: counts[key])
    checked = Checker(pages.page(about, records, summary, picture))
    assert "script" not in checked.tags
    assert all(source.startswith("data:image/") for source in checked.loaded)
    assert checked.text.count("alert('x')") > 5


def test_pictures_are_inlined_as_they_are(text: str) -> None:
    assert base64.b64encode(picture("mslub-00-T2")).decode() in text


def test_an_evaluation_that_is_read_back_gives_the_same_bytes(made: tuple[list[Record], Values], text: str) -> None:
    records = [Record.from_json(json.loads(json.dumps(record.to_json()))) for record in made[0]]
    assert pages.page(synthetic_evaluation.about(), records, json.loads(json.dumps(made[1])), picture) == text


@pytest.mark.parametrize(("module", "name"), [("matplotlib", "matplotlib"), ("jinja2", "Jinja2")])
def test_a_missing_library_is_told_in_a_sentence(
    made: tuple[list[Record], Values], monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Failure, match=f"needs {name}") as caught:
        pages.page({}, *made, picture)
    assert "pip install" in caught.value.hint


def test_every_method_looks_different_in_color_and_in_gray() -> None:
    names = [f"method {number}" for number in range(8)]
    looks = plots.styles(names, "method 3")
    assert len(set(looks.values())) == 8
    assert looks["method 3"] == plots.Style(plots.COLORS[0], ())
    neighbors = list(looks.values())
    assert all(a.dashes != b.dashes for a, b in pairwise(neighbors))


def test_a_legend_names_each_method_with_its_line(text: str) -> None:
    (shown,) = re.findall(r'<p class="legend">.*?</p>', text, re.DOTALL)
    assert re.findall(r"</svg>(.*?)</span>", shown) == list(synthetic_evaluation.STRENGTHS)
    assert shown.count("stroke-dasharray") == 2  # the judged method's line is solid


def test_plots_say_what_their_axes_mean(made: tuple[list[Record], Values]) -> None:
    group = next(group for group in made[1]["groups"] if group["labeled_scans"])
    words = re.findall(r"<!-- (.*?) -->", plots.froc(group, "model"))
    assert {"False findings per scan", "Recall of lesions"} <= set(words)


def test_a_froc_curve_ends_where_findings_begin_to_merge() -> None:
    points = [{"threshold": t, "false_findings": n, "recall": r} for t, n, r in [(1, 1, 1), (2, 9, 0.9), (3, 2, 0.5)]]
    assert plots.before_merging(points) == points[1:]


def test_the_headline_sets_the_model_beside_the_best_baseline(made: tuple[list[Record], Values]) -> None:
    ((name, patients, scans, _, own, best, ahead, *_),) = tables.headline(made[1]).rows
    methods = made[1]["groups"][0]["methods"]
    assert (name, patients, scans) == ("mslub T2", "14", "14")
    assert own == interval(methods["model"]["average_precision"])
    assert best == interval(methods["blur residual"]["average_precision"]) + " blur residual"
    assert ahead.startswith("+0.") and ", p" in ahead


def test_healthy_scans_follow_the_labeled_ones_with_the_most_flagged_first(made: tuple[list[Record], Values]) -> None:
    order = tables.ranked(made[0], "model")
    healthy = order[14:]
    assert not any(record.labeled for record in healthy)
    flagged = [record.methods["model"].false_ml for record in healthy]
    assert flagged == sorted(flagged, reverse=True)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.12, "12 %"), (0.01, "1.0 %"), (0.00034, "0.034 %"), (1.0, "100 %"), (0, "0 %"), (None, UNKNOWN)],
)
def test_shares_are_written_with_two_digits(share: float | None, expected: str) -> None:
    assert percent(share) == expected


def test_what_is_not_known_is_a_dash_and_a_small_p_is_not_zero() -> None:
    assert interval({"mean": None, "low": None, "high": None, "n": 0}) == UNKNOWN
    assert interval({"mean": 0.5, "low": None, "high": None, "n": 3}) == "0.500"
    assert interval({"mean": 0.5, "low": 0.4, "high": 0.61, "n": 9}) == "0.500 (0.400 to 0.610)"
    assert (probability(0.0001), probability(0.0312), probability(None)) == ("p < 0.001", "p = 0.031", UNKNOWN)
