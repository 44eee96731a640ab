import re
from pathlib import Path

import numpy as np
import pytest

from conddiffusion_uad.evaluation import card
from conddiffusion_uad.evaluation.cases import Case, Examined
from conddiffusion_uad.evaluation.experiment import Result
from conddiffusion_uad.volume import Grid


def result(name: str, contrast: str, precision: float, index: int | None = None) -> Result:
    case = Case(name, "scan" if index is not None else "folder", contrast, Path("scan"), Path("seg"), index)
    return Result(case, 0.01, {"model": precision, "blur residual": 0.02}, 0.3, 0.5, 0.005)


def test_figures_replace_what_stood_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n{card.BEGIN}\nformer\n{card.END}\nLimits\n")
    table = card.labeled_table([result("a", "T2", 0.4), result("b", "T2", 0.2), result("c", "T1", 0.1)])
    card.insert(path, table)
    text = path.read_text()
    assert "former" not in text
    assert text.startswith("# Card")
    assert text.endswith("Limits\n")
    assert "| **folder, mean of 2** | T2 | **0.010** | **0.300** | **0.020** | **0.300** | **0.500** |" in text
    assert "| c | T1 | 0.010 | 0.100 | 0.020 | 0.300 | 0.500 |" in text


def test_single_slices_are_only_in_the_means() -> None:
    slices = [result("a", "FLAIR", 0.2, 0), result("b", "FLAIR", 0.4, 1)]
    table = card.labeled_table(slices).splitlines()
    assert len(table) == 3
    assert table[2].startswith("| **scan, mean of 2** | FLAIR | **0.010** | **0.300** |")
    assert card.healthy_table(slices).splitlines()[2:] == ["| scan, mean of 2 slices | FLAIR | 0.50% |"]


def test_a_case_without_a_value_does_not_spoil_the_mean() -> None:
    slices = [result("a", "FLAIR", float("nan"), 0), result("b", "FLAIR", 0.4, 1)]
    assert "**0.400**" in card.labeled_table(slices)


def test_a_card_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        card.insert(tmp_path / "plain.md", "figures")


def test_a_mean_of_many_has_an_interval() -> None:
    many = [result(str(i), "FLAIR", value, i) for i, value in enumerate(np.linspace(0.1, 0.9, 40))]
    entries = card.labeled_table(many).splitlines()[-1].split("|")
    low, high = (float(value) for value in re.findall(r"\d\.\d+", entries[4])[1:])
    assert entries[4].strip().startswith("**0.500** (")
    assert 0.4 < low < 0.46 < 0.54 < high < 0.6


def test_heatmaps_of_one_person_are_compared_in_the_atlas() -> None:
    grid = Grid((4, 4, 4), (2.0,) * 3, (0.0, 0.0, 0.0))
    larger = Grid((4, 4, 6), (2.0,) * 3, (0.0, 0.0, -4.0))
    scores = np.random.default_rng(0).random((4, 4, 4))
    shifted = np.concatenate([np.full((2, 4, 4), 9.0), scores])
    first, second = (
        Examined(Case(name, "", "T1", Path("scan")), None, np.ones(found.shape, bool), place, None, None, None, None)
        for name, found, place in (("a", scores, grid), ("b", shifted, larger))
    )
    told = card.repeatability(first, second, (scores, shifted), grid)
    assert told == "Heatmaps of a and b, one person scanned twice: correlation 1.00."
