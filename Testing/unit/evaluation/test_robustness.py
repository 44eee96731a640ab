from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation import experiment
from conddiffusion_uad.evaluation.cases import Case, Examined
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.robustness import trials as robustness
from conddiffusion_uad.evaluation.robustness.record import CLEAN, Trial, load_all, trial_file
from conddiffusion_uad.evaluation.robustness.trials import RobustnessSettings, compared
from conddiffusion_uad.preprocessing import bias
from conddiffusion_uad.protocol.failures import BadInput

FEW = ("slice thickness", "noise", "reoriented")


@pytest.fixture(scope="module")
def settings(small_bundle: Path) -> RobustnessSettings:
    return RobustnessSettings(bundle=str(small_bundle), device="cpu", changes=FEW, severities=(1,))


@pytest.fixture(scope="module")
def case(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The small scan, with its bright ball as the lesion."""
    scan = sitk.ReadImage(str(scan_file))
    truth = tmp_path_factory.mktemp("truth") / "seg.nii.gz"
    sitk.WriteImage(scan > 0.9 * float(sitk.GetArrayViewFromImage(scan).max()), str(truth))
    return Case("ball", "made up", "T1", scan_file, truth)


@pytest.fixture(scope="module")
def folder(case: Case, settings: RobustnessSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a few changes were tried; the bias field is fitted in a moment."""
    made = tmp_path_factory.mktemp("robustness")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bias, "CONTROL_POINTS", (4,))
        patch.setattr(bias, "RUNS", 1)
        patch.setattr(bias, "ITERATIONS", 1)
        experiment.open_folder(made, settings.to_json(), "test")
        robustness.evaluate([case], settings, made, show=lambda *_: None)
        yield made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Trial]:
    return {trial.change: trial for trial in load_all(folder)}


def test_every_change_is_tried_and_kept(found: dict[str, Trial]) -> None:
    assert set(found) == {CLEAN, *FEW}
    assert all(set(trial.methods) == {"model", "equalized intensity"} for trial in found.values() if trial.applies)
    assert all(trial.refused is None and trial.labeled for trial in found.values())


def test_a_scan_agrees_with_itself(found: dict[str, Trial]) -> None:
    for figures in found[CLEAN].methods.values():
        assert (figures.correlation, figures.dice) == (pytest.approx(1), 1)
        assert figures.difference == pytest.approx(0, abs=1e-6)


def test_a_turned_scan_has_the_same_heatmap_in_its_place(found: dict[str, Trial]) -> None:
    for name, figures in found["reoriented"].methods.items():
        assert figures.correlation > 0.98
        assert figures.average_precision == pytest.approx(found[CLEAN].methods[name].average_precision, rel=0.1)


def test_noise_changes_the_heatmap(found: dict[str, Trial]) -> None:
    assert 0 < found["noise"].methods["model"].correlation < found["reoriented"].methods["model"].correlation - 0.001


def test_slices_that_are_thick_already_are_not_measured_again(found: dict[str, Trial]) -> None:
    assert not found["slice thickness"].applies  # 4 mm
    assert not found["slice thickness"].methods


def test_what_was_tried_is_not_tried_again(folder: Path, case: Case, settings: RobustnessSettings) -> None:
    kept = trial_file(folder, case, "reoriented", 0).read_text()
    trial_file(folder, case, "slice thickness", 1).write_text("{")
    calls = []
    robustness.evaluate([case], settings, folder, show=lambda *call: calls.append(call))
    assert calls == [(4, 4, "")]
    assert trial_file(folder, case, "reoriented", 0).read_text() == kept
    assert {trial.change for trial in load_all(folder)} == {CLEAN, *FEW}


def test_other_changes_may_follow_in_the_same_folder(folder: Path, settings: RobustnessSettings) -> None:
    more = replace(settings, changes=("motion",), severities=(2, 3))
    experiment.open_folder(folder, more.to_json(), "test")  # refused if it were another evaluation


def test_a_refusal_is_a_result(
    case: Case, settings: RobustnessSettings, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise BadInput("no_brain", "No brain.")

    experiment.open_folder(tmp_path, settings.to_json(), "test")
    monkeypatch.setattr(robustness, "_result_of", refuse)
    robustness.try_change(case, "reoriented", 0, settings, tmp_path)
    (trial,) = load_all(tmp_path)
    assert (trial.refused, trial.methods) == ("no_brain", {})


def test_a_scan_that_cannot_be_used_as_it_is_fails_and_slices_are_left_out(
    settings: RobustnessSettings, tmp_path: Path
) -> None:
    experiment.open_folder(tmp_path, settings.to_json(), "test")
    missing = Case("nobody", "made up", "T1", tmp_path / "none.nii.gz")
    robustness.evaluate([missing, replace(missing, index=0)], settings, tmp_path, show=lambda *_: None)
    assert [failed["code"] for failed in experiment.description(tmp_path)["failures"]] == ["file_not_found"] * 4
    assert load_all(tmp_path) == []


def test_the_panel_holds_what_is_asked_for() -> None:
    few = RobustnessSettings(changes=("noise", "resampled"), severities=(1, 5))
    assert few.panel() == [(CLEAN, 0), ("noise", 1), ("noise", 5), ("resampled", 0)]
    assert len(RobustnessSettings().panel()) == 1 + 7 * 5 + 5
    for wrong in ({"changes": ("nose",)}, {"severities": (6,)}):
        with pytest.raises(BadInput, match="change or severity"):
            RobustnessSettings(**wrong)


def test_figures_of_two_maps_by_hand() -> None:
    brain = np.ones((1, 2, 5), bool)
    truth = np.array([[[1, 1, 0, 0, 0], [0] * 5]], bool)
    before = np.array([[[3, 3, 0, 0, 0], [0] * 5]], np.float32)
    after = np.array([[[3, 0, 3, 0, 0], [0] * 5]], np.float32)
    examined = Examined(Case("p", "d", "T1", Path("s")), before, brain, None, brain, truth, (10.0,) * 3, None)
    figures = compared(examined, Scored("m", before, before), Scored("m", after, after), RobustnessSettings())
    assert figures.average_precision == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 10)
    assert figures.flagged_fraction == pytest.approx(1 / 8)
    assert figures.flagged_ml == pytest.approx(2)
    assert figures.correlation == pytest.approx((0.1 - 0.04) / (0.2 * 0.8))
    assert figures.difference == pytest.approx(0.6)
    assert figures.dice == pytest.approx(0.5)
