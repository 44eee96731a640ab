from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation import experiment, record, trial
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.record import Record, load_all
from conddiffusion_uad.evaluation.settings import Settings, Trial
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.protocol.failures import BadInput

FEW = ("slice thickness", "noise", "reoriented")


@pytest.fixture(scope="module")
def settings(small_bundle: Path) -> Settings:
    return Settings(
        (str(small_bundle),),
        baselines=("rank-normalized intensity",),
        device="cpu",
        precision="fp32",
        shifts=FEW,
        severities=(1,),
    )


@pytest.fixture(scope="module")
def case(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The small scan, with its bright ball as the lesion."""
    scan = sitk.ReadImage(str(scan_file))
    truth = tmp_path_factory.mktemp("truth") / "seg.nii.gz"
    sitk.WriteImage(scan > 0.9 * float(sitk.GetArrayViewFromImage(scan).max()), str(truth))
    return Case("ball", "synthetic", "T1", scan_file, truth)


@pytest.fixture(scope="module")
def folder(case: Case, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a few changes were tried."""
    made = tmp_path_factory.mktemp("robustness")
    experiment.open_folder(made, settings.to_json(), "test")
    experiment.evaluate([case], settings, made, show=lambda *_: None)
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Record]:
    return {each.corruption: each for each in load_all(folder)}


def test_every_change_is_tried_and_kept(found: dict[str, Record]) -> None:
    assert set(found) == {CLEAN, *FEW}
    assert all(set(each.methods) == {"model", "rank-normalized intensity"} for each in found.values() if each.applies)
    assert all(each.refused is None and each.labeled for each in found.values())


def test_a_scan_agrees_with_itself(found: dict[str, Record]) -> None:
    for figures in found[CLEAN].methods.values():
        assert (figures.correlation, figures.agreement) == (pytest.approx(1), 1)
        assert figures.difference == pytest.approx(0, abs=1e-6)


def test_a_turned_scan_has_the_same_heatmap_in_its_place(found: dict[str, Record]) -> None:
    for name, figures in found["reoriented"].methods.items():
        assert figures.correlation > 0.98
        assert figures.average_precision == pytest.approx(found[CLEAN].methods[name].average_precision, rel=0.1)


def test_noise_changes_the_heatmap(found: dict[str, Record]) -> None:
    assert 0 < found["noise"].methods["model"].correlation < found["reoriented"].methods["model"].correlation - 0.001


def test_slices_that_are_thick_already_are_not_measured_again(found: dict[str, Record]) -> None:
    assert not found["slice thickness"].applies  # 6 mm
    assert not found["slice thickness"].methods


def test_a_record_tells_what_it_took(found: dict[str, Record], folder: Path) -> None:
    clean, noisy = found[CLEAN], found["noise"]
    assert (clean.device, clean.precision) == (noisy.device, noisy.precision) == ("cpu", "fp32")
    assert clean.seconds["total"] == pytest.approx(clean.seconds["prepare"] + clean.seconds["reconstruct"])
    assert clean.prevalence == pytest.approx(clean.lesion_ml / clean.brain_ml)
    assert set(noisy.reconstruction) == {"histogram_kl"} < set(clean.reconstruction)
    assert record.file_of(folder, clean.id, ".png").is_file()
    counts = record.load_counts(folder, clean.id, "model")
    assert counts.average_precision() == clean.methods["model"].average_precision


def test_what_was_tried_is_not_tried_again(folder: Path, case: Case, settings: Settings) -> None:
    kept = record.file_of(folder, f"{case.id}+reoriented", ".json")
    before = kept.stat().st_mtime_ns
    record.file_of(folder, f"{case.id}+slice_thickness-1", ".json").write_text("{")
    calls = []
    experiment.evaluate([case], settings, folder, show=lambda *call: calls.append(call))
    assert calls == [(4, 4, "")]
    assert kept.stat().st_mtime_ns == before
    assert {each.corruption for each in load_all(folder)} == {CLEAN, *FEW}


def test_other_changes_may_follow_in_the_same_folder(folder: Path, settings: Settings) -> None:
    more = replace(settings, shifts=("motion",), severities=(2, 3))
    experiment.open_folder(folder, more.to_json(), "test")  # refused if it were another evaluation


def test_a_refusal_of_a_changed_scan_is_a_result(
    case: Case, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise BadInput("no_brain", "No brain.")

    experiment.open_folder(tmp_path, settings.to_json(), "test")
    monkeypatch.setattr(trial, "result_of_scan", refuse)
    trial.evaluate(Trial(case, "reoriented"), settings, tmp_path)
    (kept,) = load_all(tmp_path)
    assert (kept.refused, kept.methods) == ("no_brain", {})


def test_a_scan_that_cannot_be_used_as_it_is_fails_in_all_its_forms(settings: Settings, tmp_path: Path) -> None:
    experiment.open_folder(tmp_path, settings.to_json(), "test")
    missing = Case("nobody", "synthetic", "T1", tmp_path / "none.nii.gz")
    experiment.evaluate([missing], settings, tmp_path, show=lambda *_: None)
    assert [failed["code"] for failed in experiment.description(tmp_path)["failures"]] == ["file_not_found"] * 4
    assert load_all(tmp_path) == []


def test_lesion_outside_the_brain_is_noted_and_not_judged(case: Case, settings: Settings, tmp_path: Path) -> None:
    labels = sitk.ReadImage(str(case.truth))
    values = sitk.GetArrayFromImage(labels)
    values[:3] = 1
    outside = sitk.GetImageFromArray(values)
    outside.CopyInformation(labels)
    sitk.WriteImage(outside, str(tmp_path / "seg.nii.gz"))
    plain = replace(settings, shifts=(), baselines=())
    experiment.open_folder(tmp_path, plain.to_json(), "test")
    trial.evaluate(Trial(replace(case, truth=tmp_path / "seg.nii.gz")), plain, tmp_path)
    (kept,) = load_all(tmp_path)
    assert "of the lesion lie outside the brain mask" in kept.notes[0]
    assert kept.lesion_ml < 0.9 * float(np.sum(values)) * kept.voxel_ml
    assert kept.methods["model"].correlation is None
