import json
from pathlib import Path
from typing import Any

import pytest
import results_document
import synthetic_evaluation
from published import BEHRENDT_2023

from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_OUTPUT, RESEARCH_USE

Values = dict[str, Any]


@pytest.fixture(scope="module")
def summary() -> Values:
    records, counts = synthetic_evaluation.evaluation()
    return summarize(records, lambda *key: counts[key])


@pytest.fixture
def folder(tmp_path: Path, summary: Values) -> Path:
    (tmp_path / "evaluation.json").write_text(json.dumps(synthetic_evaluation.about()), encoding="utf-8")
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return tmp_path


def rendered(summary: Values, **changes: Any) -> str:
    return results_document.document(
        [({**synthetic_evaluation.about(), **changes}, summary)], ["results"], "RESULTS.md"
    )


def markdown_tables(text: str) -> list[str]:
    return [block for block in text.split("\n\n") if block.startswith("| ")]


def test_the_document_says_that_a_command_wrote_it(summary: Values) -> None:
    text = rendered(summary)
    assert text.startswith("# Results\n")
    assert "Do not edit" in text
    assert f"{results_document.COMMAND} results --output RESULTS.md" in text
    assert RESEARCH_USE in text


def test_the_command_bundle_and_protocol_of_an_evaluation_are_told(summary: Values) -> None:
    text, about = rendered(summary), synthetic_evaluation.about()
    assert f"```\n{about['commands'][0]}\n```" in text
    assert f"`{about['bundles'][0]['sha256']}`" in text
    assert "## residual, protocol: native" in text


def test_model_and_baselines_stand_in_one_table_with_the_prevalence(summary: Values) -> None:
    first = next(table for table in markdown_tables(rendered(summary)) if "Average precision" in table)
    head, _, model, *others = first.splitlines()
    assert head.startswith("| Method | Prevalence | Average precision |")
    assert model.startswith("| **model** | **")
    assert [line.split(" | ")[0] for line in others] == ["| blur residual", "| random"]
    assert " to " in model


def test_published_figures_share_no_table_with_ours(summary: Values) -> None:
    *ours, published = markdown_tables(rendered(summary))
    assert "cDDPM, SSL and ENS" in published and "53.37" in published
    assert not any("cDDPM" in table or "Thresh (" in table for table in ours)
    text = rendered(summary)
    reference = text.index(BEHRENDT_2023.source)
    assert reference > text.index("## How this file is made")
    assert "not comparable" in text[reference:]


def test_published_rows_have_a_cell_for_each_data_set() -> None:
    assert all(len(row) == 1 + len(BEHRENDT_2023.data) for row in BEHRENDT_2023.rows)


def test_protocols_have_a_section_each(summary: Values) -> None:
    about = synthetic_evaluation.about()
    text = results_document.document(
        [(about, summary), ({**about, "bundles": [{"name": "other", "sha256": "1"}]}, summary)], ["a", "b"], "R.md"
    )
    first, second = text.index("## residual, protocol: native"), text.index("## other, protocol: native")
    assert text[first:second].count("| **model** ") == text[second:].count("| **model** ") == 4


def test_figures_by_the_published_protocol_have_a_table_of_their_own(folder: Path) -> None:
    about = {**synthetic_evaluation.about(), "protocol": "paper", "bundles": [{"name": "fold", "sha256": "f00"}]}
    spread = {"mean": 12.34, "deviation": 1.5}
    fidelity = {"l1_healthy": 0.01, "l1_ratio": 4.0, "ssim": 0.9, "psnr": 30.0}
    counts = {"dataset": "mslub", "contrast": "T2", "scans": 30, "patients": 30, "thresholds": [0.1]}
    figures = {"groups": [{**counts, "dice": spread, "average_precision": spread, "reconstruction": fidelity}]}
    (folder / "evaluation.json").write_text(json.dumps(about), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(figures), encoding="utf-8")
    text = results_document.document([results_document.read(folder)], ["a"], "R.md")
    assert "## fold, protocol: paper" in text
    ours, published = markdown_tables(text)
    assert "12.34 ± 1.50" in ours and "cDDPM" not in ours
    assert "12.34" not in published


def test_every_row_of_a_table_has_all_columns(summary: Values) -> None:
    for table in markdown_tables(rendered(summary)):
        heads, *rows = (line.count(" | ") + line.count("|---") for line in table.splitlines())
        assert rows[0] == heads + 1 and set(rows[1:]) == {heads}


def test_names_mean_nothing_to_markdown(summary: Values) -> None:
    group = {**summary["groups"][0], "dataset": "a|b\n<script>*"}
    text = rendered({**summary, "groups": [group]}, bundles=[{"name": "a*b", "sha256": "1"}])
    assert "### a\\|b \\<script\\>\\* T2" in text
    assert "## a\\*b, protocol: native" in text


def test_the_document_is_written(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "RESULTS.md"
    assert results_document.main([str(folder), "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8").startswith("# Results\n")
    assert results_document.main([str(folder), "--output", str(output)]) == 0


def test_another_file_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    assert results_document.main([str(folder), "--output", str(tmp_path / "notes.md")]) == EXIT_OUTPUT
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_a_folder_without_an_evaluation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results_document.main([str(tmp_path), "--output", str(tmp_path / "out.md")]) == EXIT_BAD_INPUT
    assert "no finished evaluation" in capsys.readouterr().err


def test_a_document_that_cannot_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results_document.main([str(folder), "--output", str(folder / "missing" / "out.md")]) == EXIT_OUTPUT
    assert "cannot be written" in capsys.readouterr().err
