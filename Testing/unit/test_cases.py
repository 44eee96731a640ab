from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation import cases
from conddiffusion_uad.evaluation.cases import Case, examine, healthy_cases, labeled_cases
from conddiffusion_uad.evaluation.compare import _some, columns
from conddiffusion_uad.volume import Grid

GRID = Grid((16, 24, 16), (2.0, 2.0, 2.0), (-15.0, -23.0, -15.0))


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """Two archives of slices, one of them with lesions."""
    images = np.zeros((2, 40, 28), np.uint8)
    images[:, 5:35, 4:24] = np.random.default_rng(0).integers(60, 120, (30, 20))
    lesions = np.zeros(images.shape, bool)
    lesions[:, 12:20, 10:16] = True
    np.savez(tmp_path / "some_flair_z3.npz", image=images + 100 * lesions.astype(np.uint8), mask=lesions, id=["p", "q"])
    np.savez(tmp_path / "healthy_flair.npz", image=images)
    np.savez(tmp_path / "healthy_t2.npz", image=images)
    return tmp_path


def test_cases_are_found_by_their_files(tmp_path: Path) -> None:
    for file in ("a/flair.nii.gz", "a/seg.nii.gz", "b/t2.nii.gz", "healthy/oasis/7_t1.nii.gz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert [(c.name, c.contrast) for c in labeled_cases(tmp_path, ("T1", "T2", "FLAIR"))] == [("a", "FLAIR")]
    assert [(c.name, c.contrast) for c in healthy_cases(tmp_path, ("T1", "T2"))] == [("7_t1", "T1")]


def test_slices_of_archives_are_cases(archives: Path) -> None:
    labeled = list(labeled_cases(archives, ("FLAIR",)))
    assert [(c.name, c.index, c.collection) for c in labeled] == [("p", 0, "some_flair_z3"), ("q", 1, "some_flair_z3")]
    assert [c.name for c in healthy_cases(archives, ("T1", "FLAIR"))] == ["healthy_flair[0]", "healthy_flair[1]"]


def test_a_slice_is_judged_where_its_lesion_is(archives: Path) -> None:
    case = next(labeled_cases(archives, ("FLAIR",)))
    examined = examine(case, GRID)
    assert examined.volume.shape == (3, 24, 16)
    assert np.array_equal(examined.volume[0], examined.volume[2])
    scores = examined.judged(examined.volume)
    assert scores.shape == examined.truth.shape
    assert scores[examined.truth].min() > scores[~examined.truth].mean()
    assert examined.truth.sum() == 4 * 3  # 8 x 6 mm


def test_lesion_is_brought_to_the_grid_of_the_scan(tmp_path: Path) -> None:
    labels = sitk.GetImageFromArray(np.eye(4, dtype=np.uint8)[None].repeat(4, 0))
    sitk.WriteImage(labels, str(tmp_path / "seg.nii.gz"))
    scan = sitk.Image([8, 8, 8], sitk.sitkFloat32)
    scan.SetSpacing((0.5, 0.5, 0.5))
    scan.SetOrigin((-0.25, -0.25, -0.25))
    truth = cases._lesion(Case("a", "T2", tmp_path, tmp_path / "seg.nii.gz"), scan)
    assert np.array_equal(truth[0], np.eye(4).repeat(2, 0).repeat(2, 1) > 0)
    assert not cases._lesion(Case("a", "T2", tmp_path, None), scan).any()


def test_a_collection_of_many_has_one_column() -> None:
    few = [Case(name, "T2", Path("few", name, "t2"), None) for name in "ab"]
    many = [Case(name, "T2", Path("many", name, "t2"), None) for name in "cdef"]
    place = columns([*few, *many])
    assert [place[case] for case in few] == [("a", "T2"), ("b", "T2")]
    assert {place[case] for case in many} == {("many", "T2")}


def test_some_cases_are_spread_over_their_collection() -> None:
    cases = [Case(f"p{i}", contrast, Path("many", f"p{i}", "t"), None) for i in range(7) for contrast in ("T1", "T2")]
    assert [(c.name, c.contrast) for c in _some(cases, 3)] == [(f"p{i}", c) for i in (0, 3, 6) for c in ("T1", "T2")]
    assert _some(cases, None) == cases
