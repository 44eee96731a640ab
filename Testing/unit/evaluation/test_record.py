from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conddiffusion_uad.evaluation import record
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.evaluation.record import MethodRecord, Record
from conddiffusion_uad.evaluation.report import write_results

METHOD = MethodRecord(
    threshold=2.0,
    average_precision=0.5,
    auroc=0.9,
    dice=0.4,
    oracle_dice=0.6,
    oracle_threshold=1.5,
    flagged_fraction=0.01,
    flagged_ml=2.0,
    false_findings=1,
    false_ml=0.5,
    surface_dice=None,
    hausdorff95_mm=None,
    lesions=[
        {"ml": 1.0, "peak": 3.0, "detected": True, "iou": 0.5},
        {"ml": 0.1, "peak": 1.0, "detected": False, "iou": 0.0},
    ],
    froc=[{"threshold": 1.0, "false_findings": 2, "detected": 1}],
    slices=[(2.5, True)],
)
RECORD = Record(
    id="data-p.1-T2",
    case="data-p.1-T2",
    patient="p.1",
    dataset="data",
    contrast="T2",
    labeled=True,
    voxel_ml=0.001,
    brain_ml=1000.0,
    lesion_ml=1.1,
    prevalence=0.0011,
    reconstruction={"ssim": 0.9, "l1_ratio": None},
    seconds={"total": 3.14159},
    peak_memory_mb=None,
    notes=["One.", "Two."],
    methods={"model": METHOD},
)
COUNTS = {"model": count(np.array([0.1, 0.2, 3.0]), np.array([False, False, True]))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / record.FOLDER).mkdir()
    record.save(tmp_path, RECORD, record.count_arrays(COUNTS))
    return tmp_path


def test_record_and_counts_come_back(folder: Path) -> None:
    back = record.load(folder, RECORD.id)
    assert back.methods["model"].lesions == METHOD.lesions
    assert replace(back, methods={}) == replace(RECORD, methods={})
    assert record.load_all(folder) == [back]
    counts = record.load_counts(folder, RECORD.id, "model")
    for part in ("scores", "healthy", "lesion"):
        assert np.array_equal(getattr(counts, part), getattr(COUNTS["model"], part))


def test_what_is_cut_short_counts_as_not_done(folder: Path) -> None:
    file = folder / record.FOLDER / f"{RECORD.id}.json"
    file.write_text(file.read_text()[:-100])
    assert record.load(folder, RECORD.id) is None
    assert record.load_all(folder) == []
    file.write_text('{"id": "a"}')
    assert record.load(folder, RECORD.id) is None


def test_table_has_a_row_for_each_case_and_the_columns_of_all(folder: Path) -> None:
    other = replace(RECORD, id="other", reconstruction=None, methods={"maps": METHOD})
    write_results([RECORD, other], folder / "results.csv")
    head, first, second = (folder / "results.csv").read_text().splitlines()
    columns = head.split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in (first, second)]
    assert rows[0]["model.dice"] == "0.4" and rows[0]["maps.dice"] == ""
    assert rows[1]["maps.dice"] == "0.4" and rows[1]["reconstruction.ssim"] == ""
    assert rows[0]["model.lesions"] == "2" and rows[0]["model.lesions_detected"] == "1"
    assert rows[0]["seconds.total"] == "3.14" and rows[0]["notes"] == "One. Two."
    assert rows[0]["reconstruction.l1_ratio"] == ""


def test_a_record_under_another_name_is_none(folder: Path) -> None:
    file = folder / record.FOLDER / f"{RECORD.id}.json"
    file.rename(file.with_name("renamed.json"))
    assert record.load_all(folder) == []


def test_only_what_was_saved_is_removed(folder: Path) -> None:
    foreign = [folder / record.FOLDER / name for name in ("patient1.nii.gz", "notes.json", "x.npz", "x.png")]
    for file in foreign:
        file.write_text("[]")
    record.file_of(folder, RECORD.id, ".png").write_bytes(b"")
    record.remove_all(folder)
    assert sorted((folder / record.FOLDER).iterdir()) == sorted(foreign)
