from pathlib import Path

import compare
import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation.data.cases import Case


@pytest.fixture
def labeled(scan_file: Path, tmp_path: Path) -> Path:
    """The sample scan with its ball as the truth."""
    scan = sitk.ReadImage(str(scan_file))
    values = sitk.GetArrayFromImage(scan)
    folder = tmp_path / "data" / "patient"
    folder.mkdir(parents=True)
    sitk.WriteImage(scan, str(folder / "t1.nii.gz"))
    truth = sitk.GetImageFromArray((values > 0.75 * values.max()).astype(np.uint8))
    truth.CopyInformation(scan)
    sitk.WriteImage(truth, str(folder / "seg.nii.gz"))
    return tmp_path / "data"


def test_bundles_and_baselines_are_compared(
    labeled: Path, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare.main([str(small_bundle), "--data", str(labeled), "--rules"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| | patient T1 |"
    values = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in lines[2:]}
    assert values["rank-normalized intensity"] > 5 * values["1 - rank-normalized intensity"]  # the ball is bright
    assert {"small", "small, timestep 250 alone", "small, median of 3 x 3 x 3"} <= set(values)
    assert all(0 < value <= 1 for value in values.values())


def test_a_data_set_of_many_has_one_column() -> None:
    few = [Case(name, "few", "T2", Path(name)) for name in "ab"]
    many = [Case(name, "many", "T2", Path(name)) for name in "cdef"]
    place = compare.columns([*few, *many])
    assert [place[case] for case in few] == [("a", "T2"), ("b", "T2")]
    assert {place[case] for case in many} == {("many", "T2")}
