"""What the studies of the learned map tell of its bundle, and how sure that is."""

from __future__ import annotations

from types import SimpleNamespace

import check_bundle
import check_promise
import draw_curves
import fill_card
import intervals
import kept_lines
import make_bundle
import numpy as np
import pytest
import smallest_lesion
import synthetic_evaluation
from judge_cases import Case
from judge_figures import SINGLE, VOXEL_ML

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.expected_findings import measure
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.method.calibration import Calibration
from conddiffusion_uad.protocol.expected_findings import USUAL, ExpectedFindings
from conddiffusion_uad.training.data.healthy_bank import FINE


def test_intervals_are_those_of_the_textbooks():
    assert intervals.share(5, 45) == "5 of 45 (5 to 23 %)"  # Wilson: 4.8 to 23.5 %
    assert intervals.share(0, 0) == "–"  # noqa: RUF001
    assert intervals.findings([0] * 29, [str(n) for n in range(29)]) == "0 (0 to .127)"  # 3.689 / 29
    assert intervals.most_of_none(1) == pytest.approx(3.689, abs=1e-3)
    assert intervals.mean([0.2, 0.4], ["a", "b"]) == ".3"  # too few people
    told = intervals.mean([0.0, 0.0, 1.0, 1.0, 0.0, 1.0], list("abcdef"))
    assert told.startswith(".5 (.167 to .833)")
    assert intervals.mean([1.0] * 5, ["a"] * 5) == "1"  # five scans of one person
    assert [intervals.short(value) for value in (0.0, 0.0412, 0.0004, 12.34, 1.0, None)] == [
        *("0", ".0412", ".0004", "12.3", "1", "–"),  # noqa: RUF001
    ]


def test_a_study_goes_on_with_the_lines_of_the_same_bundle(tmp_path, small_bundle, monkeypatch):
    bundle = bundles.load(str(small_bundle))
    file = tmp_path / "lines.jsonl"
    file.write_text('{"bundle": "another", "name": "a", "x": 1}\n')
    calls = []
    for _ in range(2):
        kept = kept_lines.KeptLines(file, bundle)
        line = kept.get("a", lambda: calls.append(1) or {"x": 2})
        assert line["x"] == 2
    assert len(calls) == 1 and len(kept_lines.read(file)) == 2
    assert [line["x"] for line in kept_lines.latest(file)] == [2]
    monkeypatch.setattr("kept_lines.USUAL", 7.0)
    assert kept_lines.KeptLines(file, bundle).get("a", lambda: {"x": 3})["x"] == 3, "at another threshold"


def test_scans_of_one_person_count_once_in_the_interval():
    def scan(name: str, number: int) -> dict:
        return {"name": name, "promised": {"1": {"findings": number, "ml": 0.1 * number}}}

    scans = [scan(name, n) for name, n in zip("abcde", (0, 1, 2, 0, 3), strict=True)]
    apart, together = check_promise.table(scans), check_promise.table(scans, [("a", "b")])
    assert "| 1 | 1.2 (" in apart and "| 1 | 1.2 |" in together  # four people are too few
    assert "| 1 | 2.6 | 3 | .1 |" in apart


def bundle_of(threshold: float) -> SimpleNamespace:
    """A score that is the map from 2 to 9, and one finding in a healthy scan at a threshold."""
    scores = tuple(np.arange(2.0, 10.0))
    calibration = Calibration(scores, scores, 1)
    healthy = np.zeros((20, 20, 20), np.float32)
    healthy[2:8, 2:8, 2:8] = threshold
    return SimpleNamespace(
        calibration={"T2": calibration}, expected={"T2": measure([healthy], VOXEL_ML, make_bundle.LEAST_ML)}
    )


def test_lesions_are_found_by_findings_that_touch_them():
    shape = (20, 40, 40)
    lesions = np.zeros(shape, np.int16)
    lesions[4:10, 4:14, 4:14] = 1  # 1.2 ml
    lesions[14:18, 30:36, 30:36] = 2  # .288 ml
    found = np.zeros(shape, np.float32)
    found[4:10, 4:14, 9:19] = 6  # half of the first one, and as much beside it
    found[14:16, 4:14, 30:36] = 5  # .24 ml, nowhere near
    found[14, 30:32, 30:32] = 5  # of the second one, too small for a finding
    case = Case("implanted", "T2", found, np.ones(shape, bool), lesions, np.zeros(0), np.zeros(0), False)
    told = check_bundle.findings_of(case, found, bundle_of(4.0))
    assert told["lesions"] == told["lesions at one"] == [[1.2, True], [0.288, False]]
    assert told["false findings"] == 1 and told["false ml"] == pytest.approx(0.24)
    assert told["Dice"] == pytest.approx(2 * 300 / (600 + 120 + 600 + 144))


def test_lesions_are_sought_where_one_false_finding_is_expected_and_everything_else_at_the_usual_threshold():
    shape = (20, 40, 40)
    lesions, found = np.zeros(shape, np.int16), np.zeros(shape, np.float32)
    lesions[4:10, 4:14, 4:14] = 1
    found[4:10, 4:14, 4:14] = 5
    case = Case("implanted", "T2", found, np.ones(shape, bool), lesions, np.zeros(0), np.zeros(0), False)
    bundle = bundle_of(4.0)
    bundle.expected["T2"] = ExpectedFindings((4.0, 6.0), (1.0, USUAL), 9)
    told = check_bundle.findings_of(case, found, bundle)
    assert told["lesions at one"] == [[1.2, True]] and told["lesions"] == [[1.2, False]] and told["Dice"] == 0


def test_single_slices_become_thin_volumes():
    rng = np.random.default_rng(0)
    shape = (3, FINE.size[1], FINE.size[0])
    mask = rng.random(shape) > 0.5
    samples = rng.random((2, 3, shape[1] // 2, shape[2] // 2)).astype(np.float16)
    case = Case("stroke", "FLAIR", rng.random(shape), mask, mask.astype(np.int16), samples, rng.random(shape), True)
    for number in range(3):
        scan = check_bundle.thin(check_bundle.slice_of(case, number))
        assert np.flatnonzero(scan.mask.any((1, 2))).tolist() == [SINGLE - 1, SINGLE, SINGLE + 1]
        assert np.array_equal(scan.volume[SINGLE], case.volume[number]) and scan.volume.shape == FINE.size[::-1]
        assert np.array_equal(scan.samples[:, SINGLE + 1], samples[:, number]) and not scan.single
        assert check_bundle.slice_of(scan, 0) is scan


def line(name: str, precision: float, lesions: list, group: str = "implanted") -> dict:
    own = {"name": name, "group": group, "contrast": "T1", "single": False, "lesions at one": lesions}
    others = {"AP": {"model": precision, "rank": 0.1, "asymmetry": 0.2, "residual": 0.05}}
    return {**own, **others, "Dice": 0.5, "best Dice": 0.6, "false findings": 1, "false ml": 0.25}


def test_a_table_has_a_row_a_group_with_the_best_of_the_others():
    lines = [line("a", 0.4, [[0.2, True], [0.05, True], [5, True]]), line("b", 0.6, [[0.3, False], [0.5, False]])]
    text = check_bundle.table([*lines, line("c", 0.3, [], "lgg")]).splitlines()
    assert len(text) == 4
    assert text[2] == (
        "| implanted, T1 | 2 | .5 | .1 | .2 asymmetry | .05 | .5 | .6 "
        "| 1 of 2 (9 to 91 %) | 1 of 2 (9 to 91 %) | 1 | .25 |"
    )


def test_the_smallest_lesion_is_told_between_what_resampled_hosts_say():
    sizes = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    good = [[(ml, ml > 0.8) for ml in sizes] for _ in range(6)]
    assert smallest_lesion.between(good, 0.5) == "1 ml"
    assert smallest_lesion.between([[(ml, False) for ml in sizes]] * 5, 0.5) == "above 20 ml"
    mixed = [[(ml, ml > (0.4 if scan % 2 else 4)) for ml in sizes] for scan in range(6)]
    assert [smallest_lesion.between(mixed, share) for share in (0.5, 0.9)] == ["between .5 and 5 ml", "5 ml"]
    assert smallest_lesion.reached([(1.0, True), (2.0, False), (3.0, True)], 0.5) == 1.0
    assert smallest_lesion.reached([(1.0, True), (2.0, False), (3.0, True)], 0.9) == 3.0
    one = [{"contrast": "T2", "host": "x", "lesions": [[0.11, False], [9.0, True]]}]
    told = smallest_lesion.table(one)
    assert "0 of 1 (0 to 79 %)" in told and told.endswith("| about 9 ml | about 9 ml |")


def test_a_curve_leaves_out_what_a_run_copied_and_breaks_where_the_loss_changed(tmp_path):
    every = [{"step": step, "loss": 1.0 + step / 1000} for step in range(0, 200, 20)]
    later = [{"step": step, "loss": 0.3} for step in range(200, 300, 20)]
    for name, entries in (("all", every), ("T1", every + later)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "curve.jsonl").write_text("".join(f"{fill_card.json.dumps(e)}\n" for e in entries))
    runs = {name: tmp_path / name for name in ("all", "T1")}
    found = draw_curves.losses(runs, [("", 100), ("T1", 240)])
    assert [steps.tolist() for steps, _ in found["all"]] == [[0, 20, 40, 60, 80], [100, 120, 140, 160, 180]]
    assert [steps.tolist() for steps, _ in found["T1"]] == [[200, 220], [240, 260, 280]]
    assert found["T1"][0][1] == pytest.approx([0.3, 0.3])
    draw_curves.draw(runs, [("", 100)], tmp_path / "curves.png")
    assert 5_000 < (tmp_path / "curves.png").stat().st_size < 100_000


def test_a_card_is_filled_with_what_was_measured_last(tmp_path, monkeypatch):
    lines = [{"bundle": "old", **line("a", 0.9, [])}, {"bundle": "new", **line("a", 0.4, [])}]
    (tmp_path / "check.jsonl").write_text("\n".join(map(fill_card.json.dumps, lines)))
    card = tmp_path / "README.md"
    card.write_text(
        "A\n<!-- cases: begin -->\n<!-- cases: end -->\n<!-- promise: begin -->\nB\n<!-- promise: end -->\n"
    )
    monkeypatch.setattr("sys.argv", ["fill_card", str(card), "--cases", str(tmp_path / "check.jsonl")])
    fill_card.main()
    text = card.read_text(encoding="utf-8")
    assert "| implanted, T1 | 1 | .4 | .1 |" in text and "\nB\n" in text


def test_what_the_calibration_counted_becomes_a_table(tmp_path):
    of = {f"made for {asked:g}": [0, 2, 1] for asked in make_bundle.ASKED}
    of |= {"made for 0.1": [None, None, 0], "threshold": 2.653, "bound": 5.0, "ml": [3.74, 0.0, 1.0]}
    of["scans"] = ["healthy_labels_18_T2", "varied_18_T2_0", "healthy_IXI048_as_T2"]
    of |= {"others": ["healthy_1005_as_T2"], "made in others for 0.5": [4]}
    (tmp_path / "promise.json").write_text(fill_card.json.dumps({"T2": of}))
    plain, varied = fill_card.calibration(tmp_path / "promise.json").splitlines()[-2:]
    assert plain == "| T2, plain | 2 of 2 | – | .5 | .5 | .5 | .5 | 2.65 | 5 | 2.37 | 1 | 4 |"  # noqa: RUF001
    assert varied == "| T2, varied | 1 of 1 | – | 2 | 2 | 2 | 2 | 2.65 | 5 | 0 |  |  |"  # noqa: RUF001
    (tmp_path / "promise.json").write_text(
        fill_card.json.dumps({"T2": {**of, "scans": ["healthy_a", "healthy_b", "c"]}})
    )
    assert len(fill_card.calibration(tmp_path / "promise.json").splitlines()) == 3, "none is varied"


def test_the_card_tells_of_strokes_and_of_healthy_scans_of_an_evaluation(tmp_path):
    records, counts = synthetic_evaluation.evaluation(patients=6)
    summary = summarize(records, lambda identifier, method: counts[identifier, method])
    (tmp_path / "summary.json").write_text(fill_card.json.dumps(summary))
    assert "Best baseline" in (told := fill_card.strokes(tmp_path)) and "Findings per scan" in told
