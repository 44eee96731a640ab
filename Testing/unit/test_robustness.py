from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation import experiment, robustness
from conddiffusion_uad.evaluation.case_run import Settings
from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.robustness import CLEAN, panel
from conddiffusion_uad.evaluation.robustness_record import Trial, load_all, trial_file
from conddiffusion_uad.protocol import BadInput

FEW = [(CLEAN, 0), ("noise", 5), ("slice thickness", 1), ("reoriented", 0), ("air added", 0)]


@pytest.fixture(scope="module")
def settings(small_bundle: Path) -> Settings:
    return Settings(bundle=str(small_bundle), baselines=robustness.BASELINES, device="cpu")


@pytest.fixture(scope="module")
def case(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The small scan, with its bright ball as the lesion."""
    scan = sitk.ReadImage(str(scan_file))
    truth = tmp_path_factory.mktemp("truth") / "seg.nii.gz"
    sitk.WriteImage(scan > 1.5 * float(np.percentile(sitk.GetArrayViewFromImage(scan), 99)), str(truth))
    return Case("ball", "made up", "T1", scan_file, truth)


@pytest.fixture(scope="module")
def folder(case: Case, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a few changes were tried."""
    made = tmp_path_factory.mktemp("robustness")
    experiment.open_folder(made, robustness.asked(settings), "test")
    robustness.run([case], settings, made, changes=FEW, show=lambda *_: None)
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Trial]:
    return {trial.change: trial for trial in load_all(folder)}


def test_every_change_is_tried_and_kept(found: dict[str, Trial]) -> None:
    assert set(found) == {change for change, _ in FEW}
    assert all(set(trial.methods) == {"model", "equalized intensity"} for trial in found.values() if trial.applies)
    assert all(trial.refused is None for trial in found.values())


def test_a_scan_agrees_with_itself(found: dict[str, Trial]) -> None:
    for figures in found[CLEAN].methods.values():
        assert (figures.correlation, figures.dice) == (pytest.approx(1), 1)
        assert figures.difference == pytest.approx(0, abs=1e-6)
        assert figures.average_precision is not None


def test_a_turned_scan_has_the_same_heatmap_in_its_place(found: dict[str, Trial]) -> None:
    for name, figures in found["reoriented"].methods.items():
        assert figures.correlation > 0.98
        assert figures.average_precision == pytest.approx(found[CLEAN].methods[name].average_precision, abs=0.05)


def test_noise_changes_the_heatmap(found: dict[str, Trial]) -> None:
    assert found["noise"].methods["model"].correlation < found["reoriented"].methods["model"].correlation - 0.05


def test_slices_that_are_thick_already_are_not_measured_again(found: dict[str, Trial]) -> None:
    assert not found["slice thickness"].applies  # 4 mm
    assert not found["slice thickness"].methods


def test_what_was_tried_is_not_tried_again(folder: Path, case: Case, settings: Settings) -> None:
    file = trial_file(folder, case, "reoriented", 0)
    kept = file.read_text()
    damaged = trial_file(folder, case, "slice thickness", 1)
    damaged.write_text("{")
    calls = []
    robustness.run([case], settings, folder, changes=FEW, show=lambda *call: calls.append(call))
    assert calls == [(len(FEW), len(FEW), "")]
    assert file.read_text() == kept
    assert {trial.change for trial in load_all(folder)} == {change for change, _ in FEW}


def test_a_refusal_is_a_result(
    case: Case, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise BadInput("no_brain", "No brain.")

    experiment.open_folder(tmp_path, robustness.asked(settings), "test")
    robustness._clean(case, settings)
    monkeypatch.setattr(robustness, "_result", refuse)
    robustness.run([case], settings, tmp_path, changes=[("noise", 1)], show=lambda *_: None)
    (trial,) = load_all(tmp_path)
    assert (trial.refused, trial.methods) == ("no_brain", {})
    assert experiment.description(tmp_path)["failures"] == []


def test_a_scan_that_cannot_be_used_at_all_is_a_failure_of_each_change(settings: Settings, tmp_path: Path) -> None:
    experiment.open_folder(tmp_path, robustness.asked(settings), "test")
    missing = Case("nobody", "made up", "T1", tmp_path / "none.nii.gz")
    slices = replace(missing, index=0)
    robustness.run([missing, slices], settings, tmp_path, changes=FEW[:2], show=lambda *_: None)
    failures = experiment.description(tmp_path)["failures"]
    assert [failed["code"] for failed in failures] == ["file_not_found"] * 2
    assert load_all(tmp_path) == []


def test_the_panel_holds_what_is_asked_for() -> None:
    assert panel(["noise", "resampled"], [1, 5]) == [(CLEAN, 0), ("noise", 1), ("noise", 5), ("resampled", 0)]
    assert len(panel()) == 1 + 7 * 5 + 5
    for wrong in (["nose"], ["noise"]):
        with pytest.raises(BadInput, match="change or severity"):
            panel(wrong, [6])
