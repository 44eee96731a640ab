"""How a learned map is judged while it is trained."""

import json

import judge_cases
import judge_curve as curve
import numpy as np
import pytest
from judge_cases import Case
from judge_figures import VOXEL_ML, heat_map, measured, rank_map

SHAPE = (8, 24, 24)


def case(group: str, lesion: bool = False, single: bool = False, contrast: str = "FLAIR") -> Case:
    """A noisy brain, perhaps with a lesion of 5 x 8 x 8 voxels, 0.64 ml, that is bright, or dark on T1."""
    rng = np.random.default_rng(len(group) + lesion)
    mask = np.zeros(SHAPE, bool)
    mask[:, 2:22, 2:22] = True
    lesions = np.zeros(SHAPE, np.int16)
    if lesion:
        lesions[2:7, 6:14, 6:14] = 1
    sign = -1 if contrast == "T1" else 1
    volume = np.where(mask, 0.5 + 0.1 * rng.standard_normal(SHAPE) + 0.4 * sign * (lesions > 0), 0)
    return Case(group, contrast, volume.astype(np.float16), mask, lesions, np.zeros(0), np.zeros(SHAPE), single)


@pytest.mark.parametrize("contrast", ["T1", "FLAIR"])
def test_the_rank_finds_what_has_the_sign_of_the_contrast(contrast):
    found = measured([("a", case("mslub", True, contrast=contrast))], rank_map, None)
    assert found[f"AP mslub {contrast}"] > 0.9


def test_a_map_that_says_nothing_has_the_prevalence():
    sick = case("lgg", True)
    found = measured([("a", sick)], heat_map, None)
    seen = slice(None, None, 2)
    assert found["AP lgg FLAIR"] == pytest.approx((sick.lesions[seen] > 0).sum() / sick.mask[seen].sum())


def test_findings_in_healthy_scans_are_counted_without_the_tiny_ones():
    def score(given: Case) -> np.ndarray:
        found = np.zeros(SHAPE, np.float32)
        found[1, 3, 3] = found[5:7, 10:14, 10:14] = 0.9
        return found

    found = measured([("a", case("healthy"))], score, 0.5)
    assert found["findings healthy FLAIR"] == 1 and found["ml healthy FLAIR"] == pytest.approx(32 * VOXEL_ML)


def test_lesions_are_found_where_a_healthy_scan_is_quiet():
    cases = [("a", case("healthy")), ("b", case("implanted", True))]
    good = measured(
        cases, lambda c: (c.lesions > 0) * 0.9 + c.mask * 0.05 * np.random.default_rng(0).random(SHAPE), 0.5
    )
    assert good["found FLAIR above 0.5 ml"] == 1
    bad = measured(cases, lambda c: c.mask * (c.lesions == 0) * np.random.default_rng(0).random(SHAPE), 0.5)
    assert bad["found FLAIR above 0.5 ml"] == 0


def test_single_slices_count_one_by_one():
    stack = case("stroke", True, single=True)
    perfect = measured([("a", stack)], lambda c: (c.lesions > 0).astype(float), None)
    assert perfect["AP stroke FLAIR"] == 1


def test_the_curve_is_drawn_and_written_as_a_table(tmp_path):
    (tmp_path / "baselines.json").write_text(json.dumps({"rank": {"AP lgg FLAIR": 0.4}, "heat": {}}))
    lines = [
        {"step": s, "map": m, "time": 0, "AP lgg FLAIR": 0.001 * s}
        for s in (100, 200)
        for m in ("plain", "reconstructed")
    ]
    (tmp_path / "judged.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / curve.CURVE).write_text(json.dumps({"step": 1, "loss": 2.0}))
    curve.draw(tmp_path)
    assert (tmp_path / curve.PICTURE).stat().st_size > 1000
    table = curve.table(tmp_path).splitlines()
    assert len(table) == 3 and "| AP lgg FLAIR | 0.400 | - | 0.100 | 0.100 | 0.200 | 0.200 |" in table


def test_cases_are_made_once_and_those_of_another_version_anew(tmp_path, monkeypatch):
    calls = []

    def made() -> Case:
        calls.append(1)
        return case("mslub", lesion=True)

    for _ in range(2):
        [(name, found)] = judge_cases.kept_or_made(tmp_path, [("a", made)])
    assert name == "a" and len(calls) == 1
    assert (found.group, found.contrast, found.single) == ("mslub", "FLAIR", False)
    assert np.array_equal(found.volume, made().volume) and np.array_equal(found.lesions, made().lesions)
    calls.clear()
    monkeypatch.setattr(judge_cases, "_VERSION", -1)
    judge_cases.kept_or_made(tmp_path, [("a", made)])
    assert len(calls) == 1
