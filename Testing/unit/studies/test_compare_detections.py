from pathlib import Path

import compare_detections
import pytest

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.failures import Failure

CHECKOUT = Path(bundles.__file__).parents[3]


def detected(total: float, memory: float) -> compare_detections.Detected:
    return compare_detections.Detected({"read": total / 2, "reconstruct": total / 2}, memory, Path())


def test_a_checkout_agrees_with_itself(
    small_bundle: Path, scan_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = ["--contrast", "T1", "--rounds", "1", f"--more=--bundle={small_bundle}"]
    compare_detections.main([str(CHECKOUT), str(CHECKOUT), "--scan", str(scan_file), *options])
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("brain, Dice 1.0000, findings, Dice")
    assert told[-1].endswith("heatmap, r 1.0000")
    stages = [line.split("|")[1].strip() for line in told if line.startswith("| ")]
    assert stages[:4] == ["stage", "start", "read", "load"]
    assert "reconstruct" in stages


def test_medians_are_of_the_rounds_and_ratios_of_pairs() -> None:
    pairs = [(detected(4.0, 900), detected(2.0, 500)), (detected(9.0, 700), detected(3.0, 600))]
    lines = compare_detections.table(pairs)
    assert "| in all | 6.5 | 2.5 |" in lines
    assert "| peak memory, MB | 800 | 550 |" in lines
    assert lines[-1] == "before by after: 2.50 (2.00 to 3.00, 2 rounds)"


def test_a_checkout_that_cannot_detect_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot detect"):
        compare_detections.detect(CHECKOUT, [str(tmp_path / "absent.nii.gz")], tmp_path / "out")
