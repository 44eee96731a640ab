from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation import card
from conddiffusion_uad.evaluation.experiment import Case, Result, healthy_cases, labeled_cases, lesion


def result(name: str, contrast: str, precision: float) -> Result:
    case = Case(name, contrast, Path("folder", name, "scan"), Path("folder", name, "seg"))
    return Result(case, 0.01, {"model": precision, "blur residual": 0.02}, 0.005)


def test_cases_are_found_by_their_files(tmp_path: Path) -> None:
    for file in ("a/flair.nii.gz", "a/seg.nii.gz", "b/t2.nii.gz", "healthy/oasis/7_t1.nii.gz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert [(c.name, c.contrast) for c in labeled_cases(tmp_path, ("T1", "T2", "FLAIR"))] == [("a", "FLAIR")]
    assert [(c.name, c.contrast) for c in healthy_cases(tmp_path, ("T1", "T2"))] == [("7_t1", "T1")]


def test_lesion_is_brought_to_the_grid_of_the_scan(tmp_path: Path) -> None:
    labels = sitk.GetImageFromArray(np.eye(4, dtype=np.uint8)[None].repeat(4, 0))
    sitk.WriteImage(labels, str(tmp_path / "seg.nii.gz"))
    scan = sitk.Image([8, 8, 8], sitk.sitkFloat32)
    scan.SetSpacing((0.5, 0.5, 0.5))
    scan.SetOrigin((-0.25, -0.25, -0.25))
    truth = lesion(Case("a", "T2", tmp_path, tmp_path / "seg.nii.gz"), scan)
    assert np.array_equal(truth[0], np.eye(4).repeat(2, 0).repeat(2, 1) > 0)
    assert not lesion(Case("a", "T2", tmp_path, None), scan).any()


def test_figures_replace_what_stood_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n{card.BEGIN}\nold\n{card.END}\nLimits\n")
    table = card.labeled_table([result("a", "T2", 0.4), result("b", "T2", 0.2), result("c", "T1", 0.1)])
    card.insert(path, table)
    text = path.read_text()
    assert "old" not in text
    assert text.startswith("# Card")
    assert text.endswith("Limits\n")
    assert "| **mean of 2** | T2 | **0.010** | **0.300** | **0.020** |" in text
    assert "| c | T1 | 0.010 | 0.100 | 0.020 |" in text


def test_a_card_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        card.insert(tmp_path / "plain.md", "figures")
