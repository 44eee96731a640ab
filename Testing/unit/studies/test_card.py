from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import card
import numpy as np
import pytest
import synthetic_evaluation

from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.io.volume import Grid


def test_card_tells_every_data_set_every_volume_and_what_is_flagged_in_healthy_ones() -> None:
    records, counts = synthetic_evaluation.evaluation(patients=6)
    records[0] = replace(records[0], thin=True)
    summary = summarize(records, lambda identifier, method: counts[identifier, method])
    text = card.figures(summary, records)
    for name in ("mslub T2", "ixi T1", "blur residual", "Healthy brain flagged"):
        assert name in text
    last = text.split("Seconds")[1]
    assert records[1].id in last
    assert records[0].id not in last


def test_figures_replace_what_stood_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    others = "<!-- others: begin -->\nkept\n<!-- others: end -->\n"
    path.write_text(f"# Card\n{others}<!-- figures: begin -->\nformer\n<!-- figures: end -->\nLimits\n")
    card.insert(path, "latter")
    assert path.read_text() == f"# Card\n{others}<!-- figures: begin -->\nlatter\n<!-- figures: end -->\nLimits\n"
    card.insert(path, "new", "others")
    assert "begin -->\nnew\n" in path.read_text() and "kept" not in path.read_text()


def test_a_card_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        card.insert(tmp_path / "plain.md", "figures")


def test_heatmaps_of_one_person_are_compared_in_the_atlas() -> None:
    grid = Grid((4, 4, 4), (2.0,) * 3, (0.0, 0.0, 0.0))
    larger = Grid((4, 4, 6), (2.0,) * 3, (0.0, 0.0, -4.0))
    scores = np.random.default_rng(0).random((4, 4, 4))
    shifted = np.concatenate([np.full((2, 4, 4), 9.0), scores])
    first, second = (
        (SimpleNamespace(mask=np.ones(found.shape, bool), grid=place), found)
        for found, place in ((scores, grid), (shifted, larger))
    )
    assert card.repeatability(first, second) == pytest.approx(1)
    assert card.repeatability(second, (first[0], scores[::-1])) < 0.9
