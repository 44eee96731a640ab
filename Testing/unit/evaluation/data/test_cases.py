import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation.data import cases
from conddiffusion_uad.evaluation.data.cases import Case, examine, read_labels, with_unique_ids
from conddiffusion_uad.evaluation.data.find import some
from conddiffusion_uad.io.volume import Grid


def write(values: np.ndarray, file: Path) -> None:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((10.0, 10.0, 10.0))
    sitk.WriteImage(image, str(file))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A label map with 1 on the diagonal of each slice and 2 in a corner off it."""
    values = np.eye(8, dtype=np.uint8)[None].repeat(8, 0)
    values[:, 0, 7] = 2
    write(values, tmp_path / "seg.nii.gz")
    return tmp_path / "seg.nii.gz"


@pytest.fixture
def finer_scan() -> sitk.Image:
    """An empty scan with eight voxels for each of the label map's."""
    scan = sitk.Image([16, 16, 16], sitk.sitkFloat32)
    scan.SetSpacing((5.0, 5.0, 5.0))
    scan.SetOrigin((-2.5, -2.5, -2.5))
    return scan


def test_the_id_of_a_case_is_a_file_name_and_its_own() -> None:
    patients = ["a b/ü", "a b?ü", "A_B_u", "x" * 300, "x" * 301, "..", "a_b_u", "", "con"]
    ids = [case.id for case in with_unique_ids(Case(p, "set 1", "T1", Path("scan")) for p in patients)]
    assert len({i.lower() for i in ids}) == len(patients)
    assert all(re.fullmatch(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,200}", i) for i in ids)
    assert Case("p", "set", "T2", Path("scan"), repeat=2).id == "set-p-T2-again2"


def test_a_thin_volume_is_judged_where_its_lesion_is(tmp_path: Path) -> None:
    brain = np.zeros((60, 60), np.float32)
    brain[5:55, 8:52] = np.random.default_rng(0).uniform(60, 120, (50, 44))
    lesion = np.zeros(brain.shape, np.uint8)
    lesion[12:22, 12:22] = 1
    brain[lesion > 0] += 100
    place = Grid((60, 60, 8), (2.0, 2.0, 0.75), (-59.0, -43.0, 16.0))
    for values, name in ((brain, "t1"), (lesion, "seg")):
        sitk.WriteImage(place.with_array(np.repeat(values[None], 8, 0)), str(tmp_path / f"{name}.nii.gz"))
    grid = Grid((64, 64, 48), (2.0, 2.0, 2.0), (-63.0, -47.0, -20.0))
    examined = examine(Case("p", "set", "T1", tmp_path / "t1.nii.gz", tmp_path / "seg.nii.gz"), grid)
    scores = examined.native(examined.volume)
    assert scores.shape == examined.native_truth.shape == examined.native_mask.shape == (8, 60, 60)
    truth = examined.native_truth
    assert truth.sum() == 8 * 100 and not scores[~examined.native_mask].any()
    assert scores[truth].mean() > scores[examined.native_mask & ~truth].mean()
    on_grid = examined.truth_on_grid()
    assert examined.volume[on_grid].mean() > examined.volume[examined.mask & ~on_grid].mean()


def test_a_volume_is_judged_on_its_own_grid(scan_file: Path, tmp_path: Path) -> None:
    scan = sitk.ReadImage(str(scan_file))
    values = sitk.GetArrayFromImage(scan)
    marks = (values > 0.75 * values.max()).astype(np.uint8)
    marks[:, :, : values.shape[2] // 4] = 2 * (values[:, :, : values.shape[2] // 4] > 0)
    truth = sitk.GetImageFromArray(marks)
    truth.CopyInformation(scan)
    sitk.WriteImage(truth, str(tmp_path / "seg.nii.gz"))
    grid = Grid((48, 56, 48), (4.0, 4.0, 4.0), (-94.0, -110.0, -90.0))
    case = Case("ball", "set", "T1", scan_file, tmp_path / "seg.nii.gz", lesion_labels=(1,), ignored_labels=(2,))
    examined = examine(case, grid)
    assert examined.native_mask.shape == values.shape
    assert not examined.native_mask[marks == 2].any()
    assert np.array_equal(examined.native_truth, marks == 1)
    assert examined.spacing == pytest.approx((6.0, 6.0, 6.0))
    scores = examined.native(examined.volume)
    brain = examined.native_mask & ~examined.native_truth
    assert np.corrcoef(scores[brain], values[brain])[0, 1] > 0.9
    assert not scores[~examined.native_mask].any()
    restored = examined.native_intensity(examined.volume)
    assert np.median(restored[brain] / values[brain]) == pytest.approx(1, abs=0.05)


def test_lesion_is_brought_to_the_grid_of_the_scan(labels: Path, finer_scan: sitk.Image) -> None:
    marked, ignored = cases._marked(Case("a", "set", "T2", labels, labels, lesion_labels=(1,)), finer_scan)
    assert np.array_equal(marked[0], np.eye(8).repeat(2, 0).repeat(2, 1) > 0)
    assert not ignored.any()
    assert not cases._marked(Case("a", "set", "T2", labels), finer_scan)[0].any()


def test_which_labels_are_lesion_is_the_case_s_to_say(labels: Path, finer_scan: sitk.Image) -> None:
    every = cases._marked(Case("a", "set", "T2", labels, labels), finer_scan)[0]
    assert every.sum() == (8 + 1) * 8 * 8
    other, ignored = cases._marked(Case("a", "set", "T2", labels, labels, ignored_labels=(2,)), finer_scan)
    assert (other.sum(), ignored.sum()) == (8 * 8 * 8, 8 * 8)


def test_labels_stored_as_fractions_are_rounded(tmp_path: Path) -> None:
    write(np.full((8, 8, 8), 0.9999, np.float32), tmp_path / "seg.nii.gz")
    assert set(sitk.GetArrayFromImage(read_labels(tmp_path / "seg.nii.gz")).flat) == {1}


def test_some_cases_are_spread_over_their_data_set() -> None:
    many = [Case(f"p{i}", "many", contrast, Path(f"p{i}", contrast)) for i in range(7) for contrast in ("T1", "T2")]
    assert [(c.patient, c.contrast) for c in some(many, 3)] == [(f"p{i}", c) for i in (0, 3, 6) for c in ("T1", "T2")]
    assert some(many, None) == many
