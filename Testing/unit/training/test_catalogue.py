"""The catalogue knows every part and recipe, and where it comes from."""

from __future__ import annotations

import json

import pytest

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.training import catalogue
from conddiffusion_uad.training import recipe as recipes


def test_every_part_has_one_sentence() -> None:
    for key, lines in catalogue.parts().items():
        assert [line.name for line in lines] == list(catalogue.PARTS[key])
        for line in lines:
            assert line.text.endswith(".") and "\n" not in line.text and len(line.text) < 200, line


def test_papers_are_authors_year_and_place() -> None:
    found = {(key, line.name): line.paper for key, lines in catalogue.parts().items() for line in lines}
    assert found["restore", "patched"] == "Behrendt et al. 2023, arXiv:2303.03758"
    assert found["anomaly_map", "feature_space"] == "He et al. 2024, arXiv:2312.06607"
    assert found["noise", "simplex"] == "Wyatt et al. 2022" and found["context", "mirror"] == ""
    named = [paper for paper in found.values() if paper]
    assert len(named) > 15 and all(paper.split(",")[0][-4:].isdigit() for paper in named)


def test_every_recipe_says_what_it_is() -> None:
    lines = {line.name: line.text for line in catalogue.shipped_recipes()}
    assert lines.keys() == {path.stem for path in recipes.SHIPPED.glob("*.toml")}
    assert lines["pddpm"] == "Patched diffusion (Behrendt et al. 2023, arXiv:2303.03758)."
    assert lines["starter"].startswith("A small model that trains in about an hour on two CPU cores; the first")
    assert all(len(text) > 10 for text in lines.values())


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    text = capsys.readouterr().out
    assert "\nrestore\n" in text and "  patched " in text and "[Behrendt et al. 2023, arXiv:2303.03758]" in text
    assert max(map(len, text.splitlines())) <= 120
    assert main(["methods", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {*catalogue.PARTS, "recipe"} and told["adapt"][0].keys() == {"name", "text", "paper"}
