"""A table says which scans are sick: all that is wrong with it is told first, and a plane is learned from the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.measures.severity import Severity
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, BadInput
from conddiffusion_uad.training.weak_labels import read_weak_labels, weak_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, scan_file: Path) -> Path:
    """Three healthy scans, and three with a large bright lesion, and the table that says so."""
    folder = tmp_path_factory.mktemp("weak")
    scan = sitk.ReadImage(str(scan_file))
    values = sitk.GetArrayFromImage(scan)
    z, y, x = np.indices(values.shape)
    large = (z - 15) ** 2 + (y - 17) ** 2 + (x - 15) ** 2 < 6**2
    lines = ["scan,sick"]
    for number in range(6):
        noise = np.random.default_rng(number).normal(0, 0.01 * values.max(), values.shape) * (values > 0)
        image = sitk.GetImageFromArray((values + noise + 0.6 * values.max() * large * (number > 2)).astype(np.float32))
        image.CopyInformation(scan)
        sitk.WriteImage(image, str(folder / f"{number}_T1.nii.gz"))
        lines.append(f"{number}_T1.nii.gz,{int(number > 2)}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def table(folder: Path, *lines: str) -> Path:
    file = folder / "table.csv"
    file.write_text("\n".join(lines))
    return file


def test_labels_are_read(data: Path) -> None:
    found = read_weak_labels(data / "labels.csv", data, print)
    assert {file.name: sick for file, sick in found.items()} == {f"{n}_T1.nii.gz": n > 2 for n in range(6)}


def test_all_that_is_wrong_is_told_at_once(data: Path, tmp_path: Path) -> None:
    wrong = ["nobody.nii.gz,1", "0_T1.nii.gz,yes", "1_T1.nii.gz,0", "1_T1.nii.gz,1"]
    every = (data / "labels.csv").read_text().splitlines()[3:]
    with pytest.raises(BadInput) as caught:
        read_weak_labels(table(tmp_path, "scan,sick", *wrong, *every), data, print)
    told = caught.value.message
    assert "(3)" in told and all(word in told for word in ("nobody", "'yes'", "healthy in one line"))
    file = table(tmp_path, "scan,sick", "nobody.nii.gz,1", "0_T1.nii.gz,0", "1_T1.nii.gz,0", *every)
    said: list[str] = []
    assert len(read_weak_labels(file, data, said.append, skip_bad=True)) == 6
    assert len(said) == 1 and "Leaving out" in said[0] and "nobody" in said[0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["scan,healthy", "0_T1.nii.gz,1"], "no columns scan and sick"),
        (["scan,sick"], "no columns"),
        (["scan,sick", "0_T1.nii.gz,0", "3_T1.nii.gz,1"], "1 healthy scans"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(data: Path, tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_weak_labels(table(tmp_path, *lines), data, print)
    with pytest.raises(BadInput, match="cannot be read"):
        read_weak_labels(tmp_path / "none.csv", data, print)


def test_a_plane_is_learned_from_them(
    data: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--data", str(data), "--device", "cpu", "--output", str(tmp_path / "graded")]
    labels = table(tmp_path, "scan,sick", "0_T1.nii.gz,2")
    assert main(["train", "severity", str(small_bundle), "--labels", str(labels), *common]) == EXIT_BAD_INPUT
    assert main(["train", "severity", str(small_bundle), "--contrast", "T1", *common]) == EXIT_BAD_INPUT
    assert "--labels" in capsys.readouterr().err
    assert main(["train", "severity", str(small_bundle), "--labels", str(data / "labels.csv"), *common]) == 0
    graded = bundles.load(str(tmp_path / "graded"))
    assert graded.method.measures == (Severity(16),) and graded.metadata["severity"]["scans"] == 2
    assert 0.5 < graded.metadata["severity"]["auroc"] <= 1
    plane = graded.trainable.networks["severity"]
    assert plane.normal.norm().item() == pytest.approx(1, abs=1e-5)
    assert len(set(plane.healthy.tolist())) == 1  # one healthy scan was held out


def test_scans_that_cannot_be_used_do_not_count(data: Path, small_bundle: Path, tmp_path: Path) -> None:
    """They are found only when they are prepared; too few may be left then."""
    labels = read_weak_labels(data / "labels.csv", data, print)
    broken = tmp_path / "5_T1.nii.gz"
    broken.write_text("no scan")
    labels = {broken if file.name == broken.name else file: sick for file, sick in labels.items()}
    said: list[str] = []
    with pytest.raises(BadInput, match="2 sick scans that can be used"):
        weak_pairs(bundles.load(str(small_bundle)).to("cpu"), labels, "auto", said.append, skip_bad=True)
    assert [told for told in said if "Leaving out" in told and broken.name in told]
