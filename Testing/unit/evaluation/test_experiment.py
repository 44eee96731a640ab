import json
from pathlib import Path

import pytest

from conddiffusion_uad.evaluation import experiment, record
from conddiffusion_uad.protocol.failures import OutputFailure

ASKED = {"protocol": "native", "bundle": {"name": "b", "sha256": "1"}, "options": {"seed": 0, "baselines": ("x",)}}


def test_an_evaluation_goes_on_with_the_same_settings(tmp_path: Path) -> None:
    experiment.open_folder(tmp_path / "out", ASKED, "command")
    (tmp_path / "out" / record.FOLDER / "a.json").write_text("kept")
    experiment.open_folder(tmp_path / "out", ASKED, "another command")
    about = experiment.description(tmp_path / "out")
    assert about["command"] == "command"
    assert about["options"] == {"seed": 0, "baselines": ["x"]}
    assert (tmp_path / "out" / record.FOLDER / "a.json").read_text() == "kept"


def test_other_settings_are_not_mixed_with_what_is_there(tmp_path: Path) -> None:
    experiment.open_folder(tmp_path, ASKED, "command")
    (tmp_path / record.FOLDER / "a.json").write_text("old")
    other = {**ASKED, "options": {"seed": 1, "baselines": ["x"]}}
    with pytest.raises(OutputFailure) as refused:
        experiment.open_folder(tmp_path, other, "command")
    assert refused.value.code == "other_evaluation"
    experiment.open_folder(tmp_path, other, "new", anew=True)
    assert experiment.description(tmp_path)["options"]["seed"] == 1
    assert not list((tmp_path / record.FOLDER).iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFailure) as refused:
        experiment.open_folder(tmp_path / "file" / "out", ASKED, "command")
    assert refused.value.code == "cannot_write"


def test_failures_replace_earlier_ones(tmp_path: Path) -> None:
    experiment.open_folder(tmp_path, ASKED, "command")
    file = tmp_path / experiment.DESCRIPTION
    file.write_text(json.dumps({**json.loads(file.read_text()), "failures": [{"id": "old"}]}))
    experiment.keep_failures(tmp_path, [])
    assert experiment.description(tmp_path)["failures"] == []
