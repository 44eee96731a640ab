"""The study of the input gate: which scans it finds, what it makes of them, what it remembers, its tables."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gate_study
import numpy as np
import pytest
import SimpleITK as sitk
from gate_study import Study, find
from gate_tables import CLEAN, Row, tables
from out_of_distribution import OUT_OF_DISTRIBUTION, PHANTOMS

from conddiffusion_uad.detection.input_check.gate import judge
from conddiffusion_uad.detection.input_check.quality import Quality
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS
from conddiffusion_uad.protocol.failures import BadInput

GOOD = Quality(1.0, 0.96, 0.96, 1400.0, 0.35, 0.01, 0.01, 1.3, 0.06, 0.15, 0.55, 0.9)


def test_scans_are_found_by_the_contrast_in_their_names(tmp_path: Path) -> None:
    for name in ("a/IXI013-T1", "lgg/P_1/flair", "lgg/P_1/seg", "b/1000_t1", "b/1000_tissues", "c/t1_mask"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    found = {source.name: source.contrast for source in find([tmp_path])}
    assert found == {"IXI013-T1": "T1", "1000_t1": "T1", "lgg-P_1-flair": "FLAIR"}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study that finds every scan good."""
    monkeypatch.setattr(gate_study, "measure", lambda prepared: GOOD)
    return Study(SimpleNamespace(gate={}), tmp_path)


def test_what_was_measured_once_is_remembered(study: Study) -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        return SimpleNamespace(registration=SimpleNamespace(usual_size=True))

    first, again = (study.row("a", CLEAN, "T1", make) for _ in range(2))
    assert len(made) == 1
    assert first.verdict == again.verdict == "pass" and again.assessment.quality == GOOD
    assert study.row("a", CLEAN, "T2", make).verdict == "refuse"


def test_what_no_brain_was_found_in_counts_as_refused(study: Study) -> None:
    def make() -> Any:
        raise BadInput("no_brain", "")

    row = study.row("a", "like CT", "T1", make)
    assert (row.verdict, row.reasons) == ("refuse", ["no_brain"])


def row(name: str, change: str, **figures: float) -> Row:
    quality = replace(GOOD, **figures)
    return Row(name, change, "T1", judge(quality, {"T1": 1.0}, "T1", usual_size=True))


def test_tables_count_verdicts_and_compare_artifacts_with_scans_as_they_are() -> None:
    rows = [row("a", CLEAN), row("b", CLEAN, noise=0.02), row("c", CLEAN, noise=0.03)]
    rows += [row("c", "noise, severity 3", noise=0.06), row("c", "noise, severity 3", noise=0.03)]
    rows += [Row("a", "like CT", "T1", None, "no_brain")]
    text = tables(rows, lambda name: name == "c")
    assert "| setting | T1 | 2 | 2 | 0 | 0 |  |  |" in text and "| testing | T1 | 1 | 1 | 0 | 0 |  |  |" in text
    assert "| noise |  | 0.75 (50%) |  |" in text  # above the one scan for testing, and equal to it
    assert "| like CT | 1 | 0 | 0 | 1 | no_brain 1 |  |" in text
    assert "| noise | 3 | 0.010 | 0.020 | 0.030 | 0.045 |  |" in text
    assert "| T1 | 3 | T1 3 | 3 / 0 / 0 | 0 / 3 / 0 | 0 / 3 / 0 |" in text  # what the model sees is not known


def brain_in_a_head() -> tuple[sitk.Image, sitk.Image]:
    """T1-like: fluid in white matter in gray, in a dark shell and a bright one; and the brain. Voxels of 4 mm."""
    z, y, x = np.indices((50, 56, 52)) - np.array([25, 28, 26]).reshape(3, 1, 1, 1)
    radius = np.sqrt(z**2 + y**2 + x**2)
    values = np.select([radius < 4, radius < 11, radius < 17, radius < 19, radius < 22], [10, 90, 60, 5, 80], 0.0)
    values += np.random.default_rng(0).normal(0, 2, values.shape) * (values > 0)
    images = [sitk.GetImageFromArray(a) for a in (values.astype(np.float32), (radius < 17).astype(np.uint8))]
    for image in images:
        image.SetSpacing((4.0, 4.0, 4.0))
    return images[0], images[1]


@pytest.mark.parametrize("name", OUT_OF_DISTRIBUTION)
def test_changes_make_another_image_that_is_still_a_volume(name: str) -> None:
    scan, brain = brain_in_a_head()
    before = sitk.GetArrayFromImage(scan)
    changed = OUT_OF_DISTRIBUTION[name](scan, brain)
    values = sitk.GetArrayFromImage(changed)
    assert changed.GetDimension() == 3 and np.isfinite(values).all() and np.ptp(values) > 0
    assert changed.GetSpacing() != scan.GetSpacing() or not np.array_equal(values, before)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(scan), before)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(OUT_OF_DISTRIBUTION[name](scan, brain)), values)


def test_halves_are_halves() -> None:
    scan, brain = brain_in_a_head()
    lower, upper = OUT_OF_DISTRIBUTION["lower half"](scan, brain), OUT_OF_DISTRIBUTION["upper half"](scan, brain)
    assert lower.GetSize()[2] + upper.GetSize()[2] == scan.GetSize()[2]
    assert upper.GetOrigin()[2] - lower.GetOrigin()[2] == pytest.approx(4.0 * lower.GetSize()[2])


def test_bone_is_the_brightest_of_a_ct_and_gray_matter_of_a_pet() -> None:
    scan, brain = brain_in_a_head()
    inside = sitk.GetArrayFromImage(brain) > 0
    ct, pet = (sitk.GetArrayFromImage(OUT_OF_DISTRIBUTION[name](scan, brain)) for name in ("like CT", "like PET"))
    assert ct.max() == 1000 and ct[inside].max() < 100 and ct.min() == -1000
    tissue = sitk.GetArrayFromImage(scan)
    gray, white = inside & (tissue > 52) & (tissue < 68), inside & (tissue > 82)
    assert np.median(pet[gray]) > 1.2 * np.median(pet[white])


@pytest.mark.parametrize("name", PHANTOMS)
def test_phantoms_are_as_large_as_a_brain(name: str) -> None:
    phantom = PHANTOMS[name]()
    values = sitk.GetArrayFromImage(phantom)
    assert 1000 < np.sum(values != 0) * np.prod(phantom.GetSpacing()) / 1000 < 2000


def test_every_row_of_a_scan_is_made(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good: Any = SimpleNamespace(registration=SimpleNamespace(usual_size=True))
    for name in ("read", "phantom", "changed", "corrupted"):
        monkeypatch.setattr(study, name, lambda *_: good)
    source = gate_study.Source("a", "T1", tmp_path / "a_t1.nii.gz")
    made = list(gate_study.rows(study, [source], corrupted=["a"], changed=["b*"]))
    assert len(made) == len(PHANTOMS) + 1 + 3 * len(CORRUPTIONS)
    assert asdict(made[-1].assessment.quality) == asdict(GOOD)
