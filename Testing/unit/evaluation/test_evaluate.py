"""The command `evaluate` from end to end, with a small bundle on small scans."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_DONE, EXIT_OUTPUT


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, scan_file: Path) -> Path:
    """Two patients with the bright ball as their lesion, and a healthy person."""
    folder = tmp_path_factory.mktemp("data")
    scan = sitk.ReadImage(str(scan_file))
    values = sitk.GetArrayFromImage(scan)
    ball = values > 0.9 * values.max()
    rng = np.random.default_rng(0)
    for place, lesion in (("p1/t1", True), ("p2/t1", True), ("controls/h1_t1", False)):
        noisy = values + rng.normal(0, 0.01 * values.max(), values.shape) * (values > 0)
        noisy[ball & (not lesion)] = np.median(values[values > 0])
        file = folder / f"{place}.nii.gz"
        file.parent.mkdir()
        write(noisy.astype(np.float32), scan, file)
        if lesion:
            write(ball.astype(np.uint8), scan, file.with_name("seg.nii.gz"))
    return folder


def write(values: np.ndarray, like: sitk.Image, file: Path) -> None:
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(like)
    sitk.WriteImage(image, str(file))


@pytest.fixture(scope="module")
def evaluation(data: Path, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluation") / "native"
    code = run(data, small_bundle, output, "--baselines", "robust z-score, random")
    assert code == EXIT_DONE
    return output


def run(data: Path, bundle: Path, output: Path, *more: str) -> int:
    return main(["evaluate", str(data), "--bundle", str(bundle), "--output", str(output), *more])


def test_all_results_are_written(evaluation: Path) -> None:
    with (evaluation / "results.csv").open() as file:
        rows = {row["patient"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == ["h1", "p1", "p2"]
    assert rows["h1"]["model.average_precision"] == ""
    prevalence = float(rows["p1"]["prevalence"])
    assert 0 < prevalence < 0.01
    assert float(rows["p1"]["model.average_precision"]) > 5 * prevalence
    assert float(rows["p1"]["random.average_precision"]) < 5 * prevalence
    summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    assert [(g["labeled_scans"], g["healthy_scans"]) for g in summary["groups"]] in ([(2, 0), (0, 1)], [(0, 1), (2, 0)])
    page = (evaluation / "report.html").read_text(encoding="utf-8")
    assert "not a medical device" in page
    assert len(list((evaluation / "cases").glob("*.png"))) == 3


def test_a_second_run_goes_on_where_the_first_was(
    evaluation: Path, data: Path, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = next((evaluation / "cases").glob("*p1*.json"))
    kept = next((evaluation / "cases").glob("*p2*.json"))
    before = victim.read_text(encoding="utf-8"), kept.stat().st_mtime_ns
    victim.unlink()
    assert run(data, small_bundle, evaluation, "--baselines", "robust z-score, random") == EXIT_DONE
    again, first = json.loads(victim.read_text(encoding="utf-8")), json.loads(before[0])
    assert again["methods"] == first["methods"]
    assert kept.stat().st_mtime_ns == before[1]
    assert "3/3" in capsys.readouterr().err


def test_another_question_needs_another_folder(evaluation: Path, data: Path, small_bundle: Path) -> None:
    assert run(data, small_bundle, evaluation, "--baselines", "random") == EXIT_OUTPUT


def test_the_report_tells_what_computed_and_what_was_asked(evaluation: Path) -> None:
    about = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    assert about["options"]["precision"] in ("fp32", "bf16")
    page = (evaluation / "report.html").read_text(encoding="utf-8")
    with (evaluation / "results.csv").open() as file:
        assert {(row["device"], row["precision"]) for row in csv.DictReader(file)} <= {
            (device, about["options"]["precision"]) for device in ("cpu", "cuda", "mps")
        }
    for name in ("baselines", "precision", "skull", "seed", "min_volume_ml"):
        assert f"{name} {about['options'][name]}" in page or name == "baselines", name
    assert about["options"]["healthy_flagged"] is None and "<th>Threshold</th>" in page
    assert "Computed on" in page and "The bundle does not tell all" in page


def test_a_bundle_that_cannot_promise_the_usual_number_is_judged_at_the_least_that_it_can(
    data: Path, small_bundle: Path, tmp_path: Path
) -> None:
    noisy = Path(shutil.copytree(small_bundle, tmp_path / "noisy"))
    bundles.save_expected(noisy, {"T1": ExpectedFindings((1.0, 3.5, 4.0), (40.0, 5.0, 5.0), 9)})
    assert run(data, noisy, tmp_path / "out", "--baselines", "none", "--most", "1") == EXIT_DONE
    with (tmp_path / "out" / "results.csv").open() as file:
        assert {row["model.threshold"] for row in csv.DictReader(file)} == {"3.5"}


def test_maps_of_other_software_are_judged_without_the_model(
    data: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for patient in ("p1", "p2"):
        truth = sitk.ReadImage(str(data / patient / "seg.nii.gz"), sitk.sitkFloat32)
        sitk.WriteImage(truth * 5, str(maps / f"{patient}.nii.gz"))
    options = ("--baselines", "none", "--maps", str(maps), "--maps-threshold", "2.5")
    assert run(data, small_bundle, tmp_path / "out", *options) == EXIT_DONE
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    (group,) = summary["groups"]
    assert group["methods"]["maps"]["average_precision"]["mean"] == pytest.approx(1)
    assert group["methods"]["maps"]["dice"]["label-free"]["mean"] == pytest.approx(1)
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["failures"]
    assert [failed["code"] for failed in told] == ["map_missing"]  # of the healthy scan
    assert "There is no map of" in capsys.readouterr().err


def test_lesions_are_implanted_into_healthy_scans_and_all_scans_are_attacked(
    data: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data / "p1", small_bundle, tmp_path / "out", "--dose-response") == EXIT_BAD_INPUT
    assert "needs healthy scans" in capsys.readouterr().err
    assert run(data, small_bundle, tmp_path / "out", "--dose-response", "--adversarial") == EXIT_DONE
    with (tmp_path / "out" / "dose_response.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"model", "rank-normalized intensity"}
    own = [row for row in rows if row["method"] == "model"]
    assert len(own) == 16 and all(0 <= int(row["found"]) <= int(row["lesions"]) <= 1 for row in own)
    assert sum(int(row["lesions"]) for row in own) >= 8  # the brain of 6 mm has no place for all
    places = [(row["diameter_mm"], row["contrast"], row["lesions"], row["ml"]) for row in rows]
    assert places[:16] == places[16:]  # the same for each method
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Implanted lesions" in report and "Contrast 0.45" in report and "Changed scans" not in report
    assert "Worst cases" in report and "missed lesion" in report and "4 / 255" in report
    changed = json.loads(next((tmp_path / "out" / "cases").glob("*implanted_lesions-1.json")).read_text())
    assert changed["methods"]["model"]["correlation"] < 1 and changed["corruption"] == "implanted lesions"
    with (tmp_path / "out" / "results.csv").open() as file:
        clean = [row for row in csv.DictReader(file) if row["corruption"] == "none"]
    aurocs = [row["reconstruction.latent_auroc"] for row in clean]
    assert sorted(bool(value) for value in aurocs) == [False, True, True]  # of slices with and without lesion


def test_the_published_protocol_has_figures_of_its_own(data: Path, small_bundle: Path, tmp_path: Path) -> None:
    assert run(data, small_bundle, tmp_path / "out", "--protocol", "paper") == EXIT_DONE
    groups = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["groups"]
    labeled = next(group for group in groups if group["dice"])
    assert labeled["patients"] == 2
    assert len(labeled["thresholds"]) == 2
    assert 0 < labeled["average_precision"]["mean"] <= 100
    assert "Not comparable" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--baselines", "magic"], "magic"),
        (["--maps-threshold", "2"], "--maps"),
        (["--healthy-flagged", "2"], "--healthy-flagged"),
        (["--bundle", "residual"], "paper"),
        (["--jobs", "0"], "--jobs"),
        (["--robustness", "--severities", "few"], "few"),
        (["--robustness", "--severities", "9"], "9"),
        (["--dose-response", "--severities", "3"], "--severities are those of --robustness"),
        (["--robustness", "--protocol", "paper"], "--robustness"),
        (["--dose-response", "--protocol", "paper"], "--dose-response"),
        (["--protocol", "paper", "--maps", "."], "--maps"),
        (["--protocol", "paper", "--baselines", "all"], "--baselines"),
        (["--protocol", "paper", "--healthy-flagged", "0.02"], "--healthy-flagged"),
        (["--maps", "nowhere"], "nowhere"),
        (["--seed", "-1"], "--seed"),
        (["--precision", "fp64"], "fp64"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    data: Path,
    small_bundle: Path,
    tmp_path: Path,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(data, small_bundle, tmp_path / "out", *options) == EXIT_BAD_INPUT
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_data_are_listed_before_anything_is_run(
    data: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = tmp_path / "data"
    for name in ("p1/t1.nii.gz", "p1/seg.nii.gz", "p2/t1.nii.gz"):
        (lonely / name).parent.mkdir(parents=True, exist_ok=True)
        (lonely / name).write_bytes((data / name).read_bytes())
    assert run(lonely, small_bundle, tmp_path / "out") == EXIT_BAD_INPUT
    told = capsys.readouterr().err
    assert "p2/seg" in told
    assert "--skip-bad" in told
