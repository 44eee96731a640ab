"""A run is repeated from its report, bit for bit; another scan or another bundle is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import SimpleITK as sitk
import torch

from conddiffusion_uad.app import cli, repetition
from conddiffusion_uad.detection import report
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_BUNDLE, EXIT_DONE, BundleFailure

PARAMETERS = "--levels 300,600 --seed 5 --healthy-flagged 0.02 --min-volume-ml 0.3 --batch 7 --precision bf16"


@pytest.fixture(scope="module")
def first(scan_file: Path, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run whose parameters are not the usual ones."""
    folder = tmp_path_factory.mktemp("first") / "out"
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        code = cli.main(
            ["detect", str(scan_file), "--output", str(folder), "--bundle", str(small_bundle), *PARAMETERS.split()]
        )
    finally:
        torch.set_num_threads(usual)
    assert code == EXIT_DONE
    return folder


@pytest.fixture
def keeping_threads() -> Any:
    """Repeating sets the number of threads of this process."""
    usual = torch.get_num_threads()
    yield
    torch.set_num_threads(usual)


def repeat(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    code = cli.main(["detect", "--json", *map(str, arguments)])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code, events = repeat(capsys, *arguments)
    assert events[-1]["hint"].endswith(".") and events[-1]["message"].endswith(".")
    return code, events[-1]["code"]


def test_the_results_are_the_same_bit_for_bit(
    first: Path,
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keeping_threads: None,
) -> None:
    copy = shutil.copy(scan_file, tmp_path / "another name.nii.gz")
    options = ["--repeat", first / result_files.REPORT, "--bundle", small_bundle]
    code, events = repeat(capsys, copy, *options, "--output", tmp_path / "out")
    assert code == EXIT_DONE
    assert [event for event in events if event["event"] == "warning" and event["code"].startswith("repeat")] == []
    for name in set(result_files.FILES) - {result_files.REPORT}:
        assert (tmp_path / "out" / name).read_bytes() == (first / name).read_bytes(), name
    reports = [json.loads((folder / result_files.REPORT).read_text()) for folder in (first, tmp_path / "out")]
    assert reports[1]["repetition"] == {"identical": True, "different_files": [], "changed": []}
    for part in ("parameters", "bundle", "input", "files", "software", "computer", "device"):
        assert reports[0][part] == reports[1][part], part
    schema = json.loads(Path(report.__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    for written in reports:
        jsonschema.Draft202012Validator(schema).validate(written)


def test_results_that_differ_are_told(
    first: Path,
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keeping_threads: None,
) -> None:
    told = json.loads((first / result_files.REPORT).read_text())
    told["files"]["heatmap.nii.gz"] = "0" * 64
    told["software"]["torch"] = "1.0"
    told["parameters"]["threshold"] = 1.25
    (tmp_path / "report.json").write_text(json.dumps(told))
    options = ["--repeat", tmp_path / "report.json", "--bundle", small_bundle, "--output", tmp_path / "out"]
    code, events = repeat(capsys, scan_file, *options)
    assert code == EXIT_DONE
    (warning,) = (event for event in events if event.get("code") == "repeat_differs")
    assert "torch: 1.0, now" in warning["message"] and "threshold: 1.25, now" in warning["message"]
    written = json.loads((tmp_path / "out" / result_files.REPORT).read_text())
    assert written["repetition"]["different_files"] == ["heatmap.nii.gz"] and not written["repetition"]["identical"]
    assert [entry["code"] for entry in written["warnings"]][-1] == "repeat_differs"


def test_what_a_report_says_does_not_rule_the_terminal(first: Path) -> None:
    told = json.loads((first / result_files.REPORT).read_text())
    told["software"].update(torch="\x1b[2J" + "x" * 10_000, numpy={"a": [None] * 1000})
    told["files"] = {}
    told["bundle"].update(name="\x1b[2J\n" + "x" * 10_000)
    notes = Recorder(Quiet())
    repetition.Repetition(told).compare(json.loads((first / result_files.REPORT).read_text()), notes)
    assert len(notes.warnings[0]["message"]) < 1100 and notes.warnings[0]["message"].isprintable()
    told["bundle"]["sha256"] = "\x1b" * 10_000
    with pytest.raises(BundleFailure) as caught:
        repetition.Repetition(told).locate_bundle()
    assert len(caught.value.message) < 300 and caught.value.message.isprintable() and "?" not in caught.value.message


def test_another_scan_is_refused(
    first: Path, scan_file: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = sitk.ReadImage(str(scan_file))
    sitk.WriteImage(scan * 1.001, str(tmp_path / "brighter.nii.gz"))
    scan.SetSpacing([4.0, 4.0, 4.01])
    sitk.WriteImage(scan, str(tmp_path / "longer.nii.gz"))
    options = ["--repeat", first / result_files.REPORT, "--bundle", small_bundle, "--output", tmp_path / "out"]
    for name in ("brighter", "longer"):
        answer = refused(capsys, tmp_path / f"{name}.nii.gz", *options)
        assert answer == (EXIT_BAD_INPUT, "another_scan")
    assert not (tmp_path / "out").exists()


def test_another_bundle_is_refused(
    first: Path, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keeping_threads: None
) -> None:
    options = [scan_file, "--repeat", first / result_files.REPORT, "--output", tmp_path / "out"]
    assert refused(capsys, *options) == (EXIT_BUNDLE, "another_bundle")
    shipped = resources() / "Models" / "residual"
    assert refused(capsys, *options, "--bundle", shipped) == (EXIT_BUNDLE, "another_bundle")
    assert not (tmp_path / "out").exists()


def test_an_installed_bundle_is_found_by_its_hash(first: Path, small_bundle: Path, monkeypatch: Any) -> None:
    from conddiffusion_uad.bundle import bundle

    monkeypatch.setattr(bundle, "available", lambda: ["residual", str(small_bundle)])
    assert repetition.read(str(first / result_files.REPORT)).locate_bundle() == str(small_bundle)


@pytest.mark.parametrize("options", [["--seed", "1"], ["--levels", "250"], ["--contrast", "T2"], ["--batch", "4"]])
def test_options_that_the_report_decides_are_refused(
    options: list[str], first: Path, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [scan_file, "--repeat", first / result_files.REPORT, "--output", tmp_path / "out", *options]
    assert refused(capsys, *arguments) == (EXIT_BAD_INPUT, "bad_option")
    assert refused(capsys, scan_file, *arguments[:-2]) == (EXIT_BAD_INPUT, "bad_option")


def test_the_device_is_that_of_the_report_unless_another_is_asked_for(first: Path) -> None:
    told = json.loads((first / result_files.REPORT).read_text())
    told["device"] = "cuda:1 (NVIDIA RTX A4000)"
    run = repetition.Repetition(told)
    assert run.job("scan.nii", "out").device == "cuda:1"
    assert run.job("scan.nii", "out", device="cpu").device == "cpu"


def without(*names: str) -> Callable[[dict[str, Any]], object]:
    def damage(told: dict[str, Any]) -> object:
        inner = told
        for name in names[:-1]:
            inner = inner[name]
        return inner.pop(names[-1])

    return damage


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (without("format"), "report_unusable"),
        (without("parameters"), "report_unusable"),
        (without("parameters", "seed"), "report_unusable"),
        (without("parameters", "threshold"), "report_unusable"),
        (without("input"), "report_unusable"),
        (without("input", "origin"), "report_unusable"),
        (without("computer", "threads"), "report_unusable"),
        (without("bundle", "sha256"), "report_unusable"),
        (without("software"), "report_unusable"),
        (without("device"), "report_unusable"),
        (lambda told: told.update(format=2), "report_too_new"),
        (lambda told: told["parameters"].update(seed=-1), "report_unusable"),
        (lambda told: told["computer"].update(threads=0), "report_unusable"),
        (lambda told: told["input"].update(spacing=[1.0]), "report_unusable"),
    ],
)
def test_a_report_that_cannot_be_used(
    damage: Callable[[dict[str, Any]], object],
    code: str,
    first: Path,
    scan_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = json.loads((first / result_files.REPORT).read_text())
    damage(told)
    (tmp_path / "report.json").write_text(json.dumps(told))
    arguments = [scan_file, "--repeat", tmp_path / "report.json", "--output", tmp_path / "out"]
    assert refused(capsys, *arguments) == (EXIT_BAD_INPUT, code)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_report(
    content: bytes, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_bytes(content)
    arguments = [scan_file, "--repeat", tmp_path / "report.json", "--output", tmp_path / "out"]
    assert refused(capsys, *arguments) == (EXIT_BAD_INPUT, "report_unusable")
    arguments[2] = tmp_path / "missing.json"
    assert refused(capsys, *arguments) == (EXIT_BAD_INPUT, "file_not_found")
