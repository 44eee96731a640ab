import json
from pathlib import Path

import pytest

from conddiffusion_uad.evaluation import experiment, record
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.settings import Settings
from conddiffusion_uad.protocol.failures import OutputFailure

ASKED = {"protocol": "native", "bundles": [{"name": "b", "sha256": "1"}], "options": {"seed": 0, "baselines": ("x",)}}


def test_an_evaluation_goes_on_with_the_same_settings(tmp_path: Path) -> None:
    experiment.open_folder(tmp_path / "out", ASKED, "command")
    (tmp_path / "out" / record.FOLDER / "a.json").write_text("kept")
    experiment.open_folder(tmp_path / "out", ASKED, "another command")
    about = experiment.description(tmp_path / "out")
    assert about["commands"] == ["command", "another command"]
    assert about["options"] == {"seed": 0, "baselines": ["x"]}
    assert (tmp_path / "out" / record.FOLDER / "a.json").read_text() == "kept"


def test_other_settings_are_not_mixed_with_what_is_there(tmp_path: Path) -> None:
    experiment.open_folder(tmp_path, ASKED, "command")
    record.save(tmp_path, Record("a", "a", "p", "set", "T1", labeled=False))
    other = {**ASKED, "options": {"seed": 1, "baselines": ["x"]}}
    with pytest.raises(OutputFailure) as refused:
        experiment.open_folder(tmp_path, other, "command")
    assert refused.value.code == "other_evaluation"
    experiment.open_folder(tmp_path, other, "new", anew=True)
    assert experiment.description(tmp_path)["options"]["seed"] == 1
    assert experiment.description(tmp_path)["commands"] == ["new"]
    assert not list((tmp_path / record.FOLDER).iterdir())


def test_files_of_others_stay_also_when_an_evaluation_is_replaced(tmp_path: Path) -> None:
    foreign = tmp_path / record.FOLDER / "patient1.nii.gz"
    foreign.parent.mkdir()
    foreign.write_text("a scan")
    experiment.open_folder(tmp_path, ASKED, "command", anew=True)
    experiment.open_folder(tmp_path, ASKED, "command", anew=True)
    assert foreign.read_text() == "a scan"


@pytest.mark.parametrize("name", ["results.csv", "summary.json", "report.html", "evaluation.json"])
@pytest.mark.parametrize("anew", [False, True])
def test_results_that_no_evaluation_wrote_are_not_replaced(tmp_path: Path, name: str, anew: bool) -> None:
    (tmp_path / name).write_text('{"of": "somebody else"}')
    with pytest.raises(OutputFailure) as refused:
        experiment.open_folder(tmp_path, ASKED, "command", anew=anew)
    assert refused.value.code == "output_exists"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFailure) as refused:
        experiment.open_folder(tmp_path / "file" / "out", ASKED, "command")
    assert refused.value.code == "cannot_write"


def test_what_was_noted_and_what_failed_are_those_of_the_last_run(tmp_path: Path) -> None:
    experiment.open_folder(tmp_path, ASKED, "command", noted=["a file is odd"])
    file = tmp_path / experiment.DESCRIPTION
    file.write_text(json.dumps({**json.loads(file.read_text()), "failures": [{"id": "old"}]}))
    experiment.open_folder(tmp_path, ASKED, "command")
    experiment.evaluate([], Settings(), tmp_path, show=lambda *_: None)
    about = experiment.description(tmp_path)
    assert (about["failures"], about["noted"], about["commands"]) == ([], [], ["command"])
