"""Splits by subject and the files of a training: no subject is ever on two sides."""

import json
from pathlib import Path

import pytest

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data import splits
from conddiffusion_uad.training.data.datalist import Entry, find
from conddiffusion_uad.training.data.source import Source

PEOPLE = [f"IXI{number:03d}" for number in range(560)]


def source(contrast: str = "T2", files: str = "*.nii.gz") -> Source:
    return Source("scans", files, weight=1.0, held_out=1, contrast=contrast)


def test_shares_of_the_published_split() -> None:
    split = splits.assign(PEOPLE, 0.08, 0.28, shuffle=True, declared={})
    counts = [sum(side == name for side in split.values()) for name in splits.SPLITS]
    assert counts == [358, 45, 157]


def test_without_shuffling_the_last_subjects_are_held_out_with_all_their_scans() -> None:
    split = splits.assign(["a", "a", "b", "b", "c"], 1, 1, shuffle=False, declared={})
    assert split == {"a": splits.TRAIN, "b": splits.HELD_OUT, "c": splits.TEST}


def test_a_source_that_nothing_is_learned_from_trains_on_nobody() -> None:
    split = splits.without_training({"a": splits.TRAIN, "b": splits.TEST, "c": splits.HELD_OUT})
    assert split == {"a": splits.HELD_OUT, "b": splits.TEST, "c": splits.HELD_OUT}


def test_a_shuffled_split_does_not_depend_on_the_order_of_the_files() -> None:
    one, other = (splits.assign(names, 5, 9, shuffle=True, declared={}) for names in (PEOPLE, PEOPLE[::-1]))
    assert one == other
    assert splits.digest(one) == splits.digest(other)


def test_the_digest_changes_with_one_subject() -> None:
    split = splits.assign(PEOPLE, 5, 9, shuffle=True, declared={})
    first = PEOPLE[0]
    moved = {**split, first: splits.TEST if split[first] != splits.TEST else splits.TRAIN}
    assert splits.digest(moved) != splits.digest(split)


def test_who_is_kept_from_training_in_one_source_is_kept_from_it_in_all() -> None:
    merged = splits.merged([{"a": "train", "b": "test", "c": "held_out"}, {"a": "held_out", "b": "train", "c": "test"}])
    assert merged == {"a": "held_out", "b": "test", "c": "test"}


def test_subjects_are_recognized_in_the_layouts_of_ixi_and_bids(tmp_path: Path) -> None:
    names = ["IXI-T2/IXI002-Guys-0828-T2.nii.gz", "IXI-T1/IXI002-Guys-0828-T1.nii.gz", "bids/sub-07/anat/T2w.nii.gz"]
    for name in [*names, "a/scan_T2.nii.gz", "b/scan_T2.nii.gz"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    t2, t1 = find([source(files="**/*T2*.nii.gz"), source("T1", "**/IXI*-T1.nii.gz")], tmp_path)
    assert [entry.subject for entry in t1] == ["IXI002"]
    assert [entry.subject for entry in t2][:1] == ["IXI002"] and t2[-1].subject == "sub-07"
    assert len({entry.subject for entry in t2}) == 4  # the two others are told apart by their folders


CSV = "image,contrast,subject,split\na.nii.gz,T2,anna,train\nb.nii.gz,T2,bert,val\nc.nii.gz,T1,anna,train\n"
JSON = {
    "training": [{"image": "a.nii.gz", "contrast": "T2", "subject": "anna"}, {"image": "c.nii.gz", "contrast": "T1"}],
    "validation": [{"image": "b.nii.gz", "contrast": "T2", "subject": "bert"}],
    "test": ["d.nii.gz"],
    "name": "what else stands in such files",
}


def test_csv_and_json_datalists(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(CSV)
    (tmp_path / "list.json").write_text(json.dumps(JSON))
    expected = [("a.nii.gz", "anna", splits.TRAIN), ("b.nii.gz", "bert", splits.HELD_OUT)]

    def told(entries: list[Entry]) -> list[tuple[str, str, str | None]]:
        assert all(entry.file.parent == tmp_path for entry in entries)
        return [(entry.file.name, entry.subject, entry.split) for entry in entries]

    t2, t1 = find([source(), source("T1")], tmp_path / "list.csv")
    assert told(t2) == expected
    assert told(t1) == [("c.nii.gz", "anna", splits.TRAIN)]
    t2, _ = find([source(), source("T1")], tmp_path / "list.json")
    assert told(t2)[:2] == expected
    assert [entry.split for entry in t2[2:]] == [splits.TEST]  # no contrast is said: that of the source


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "image,contrast\na.nii.gz,PD\n"),
        ("list.csv", "image,split\na.nii.gz,both\n"),
        ("list.csv", "file\na.nii.gz\n"),
        ("list.json", "[1, 2"),
        ("list.json", '["a.nii.gz"]'),
        ("list.json", '{"training": [{"image": 1}]}'),
    ],
)
def test_wrong_datalists_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as caught:
        find([source()], tmp_path / name)
    assert caught.value.code == "bad_datalist"
