import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.data.find import find
from conddiffusion_uad.evaluation.data.layouts import LAYOUTS
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS

# A miniature of each data set as it is published: its files, and of each case patient, contrast, scan and truth.
PUBLISHED = {
    "ixi": (
        ["IXI-T1/IXI002-Guys-0828-T1.nii.gz", "IXI-T2/IXI002-Guys-0828-T2.nii.gz", "IXI-PD/IXI002-Guys-0828-PD.nii.gz"],
        [
            ("IXI002", "T1", "IXI-T1/IXI002-Guys-0828-T1.nii.gz", None),
            ("IXI002", "T2", "IXI-T2/IXI002-Guys-0828-T2.nii.gz", None),
        ],
    ),
    "brats21": (
        [f"BraTS2021_00000/BraTS2021_00000_{name}.nii.gz" for name in ("t1", "t1ce", "t2", "flair", "seg")],
        [
            (
                "BraTS2021_00000",
                contrast,
                f"BraTS2021_00000/BraTS2021_00000_{contrast.lower()}.nii.gz",
                "BraTS2021_00000/BraTS2021_00000_seg.nii.gz",
            )
            for contrast in CONTRASTS
        ],
    ),
    "mslub": (
        [
            *(
                f"patient01/patient01_{name}.nii.gz"
                for name in ("T1W", "T1WKS", "T2W", "FLAIR", "consensus_gt", "brainmask")
            ),
            *(f"patient01/raw/patient01_{name}.nii.gz" for name in ("T1W", "T1WKS", "T2W", "FLAIR")),
        ],
        [
            (
                "patient01",
                contrast,
                f"patient01/patient01_{name}.nii.gz",
                "patient01/patient01_consensus_gt.nii.gz",
            )
            for contrast, name in (("T1", "T1W"), ("T2", "T2W"), ("FLAIR", "FLAIR"))
        ],
    ),
    "atlas2": (
        [
            f"Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_{name}.nii.gz"
            for name in ("T1w", "label-L_desc-T1lesion_mask")
        ]
        + ["Testing/R003/sub-r003s001/ses-1/anat/sub-r003s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz"],
        [
            (
                "sub-r001s001",
                "T1",
                "Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz",
                "Training/R001/sub-r001s001/ses-1/anat/"
                "sub-r001s001_ses-1_space-MNI152NLin2009aSym_label-L_desc-T1lesion_mask.nii.gz",
            )
        ],
    ),
    "wmh": (
        [
            f"{place}/{name}.nii.gz"
            for place in ("training/Utrecht/0", "test/Amsterdam/GE3T/100")
            for name in ("pre/T1", "pre/FLAIR", "pre/3DT1", "orig/T1", "orig/FLAIR", "orig/3DT1", "wmh")
        ]
        + ["additional_annotations/observer_o3/training/Utrecht/0/result.nii.gz"],
        [
            (
                place.split("/", 1)[1].replace("/", "-"),
                contrast,
                f"{place}/pre/{contrast}.nii.gz",
                f"{place}/wmh.nii.gz",
            )
            for patient, place in (
                ("Amsterdam-GE3T-100", "test/Amsterdam/GE3T/100"),
                ("Utrecht-0", "training/Utrecht/0"),
            )
            for contrast in ("T1", "FLAIR")
        ],
    ),
}


def make(folder: Path, files: Iterable[str]) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def told(cases: Iterable[Case], folder: Path) -> list[tuple[str, str, str, str | None]]:
    def place(path: Path | None) -> str | None:
        return path and path.relative_to(folder).as_posix()

    return [(case.patient, case.contrast, place(case.scan), place(case.truth)) for case in cases]


@pytest.mark.parametrize("layout", PUBLISHED)
@pytest.mark.parametrize("above", ["", "data"])
def test_a_published_layout_is_recognized(layout: str, above: str, tmp_path: Path) -> None:
    files, expected = PUBLISHED[layout]
    folder = make(tmp_path / above, files)
    start = tmp_path if layout != "ixi" else folder
    assert [name for name in LAYOUTS if LAYOUTS[name].matches(start)] == [layout, "folder"]
    assert told(find([start], CONTRASTS), folder) == expected
    assert find([f"{layout}:{start}"], CONTRASTS) == find([start], CONTRASTS)


def test_each_layout_knows_what_its_labels_mean(tmp_path: Path) -> None:
    labels = {}
    for layout, (files, _) in PUBLISHED.items():
        case = find([make(tmp_path / layout, files)], CONTRASTS)[0]
        labels[layout] = (case.lesion_labels, case.ignored_labels)
    assert labels["brats21"] == ((1, 2, 4), ())
    assert labels["wmh"] == ((1,), (2,))
    assert {labels[name] for name in ("ixi", "mslub", "atlas2")} == {(None, ())}


def test_only_the_wanted_contrasts_are_cases(tmp_path: Path) -> None:
    folder = make(tmp_path, PUBLISHED["brats21"][0])
    assert [case.contrast for case in find([folder], ("T2",))] == ["T2"]


def test_the_copy_of_mslub_on_github_is_recognized(tmp_path: Path) -> None:
    names = ("T1W", "T2W", "FLAIR", "consensus_gt", "brainmask")
    kinds = ("raw", "coregistered")
    folder = make(tmp_path, [f"cross_sectional/{kind}/patient07/{name}.nii.gz" for kind in kinds for name in names])
    place = "cross_sectional/coregistered/patient07"
    assert told(find([folder], ("FLAIR",)), folder) == [
        ("patient07", "FLAIR", f"{place}/FLAIR.nii.gz", f"{place}/consensus_gt.nii.gz")
    ]


def test_what_a_layout_lacks_is_a_case_all_the_same(tmp_path: Path) -> None:
    files = [file for file in PUBLISHED["brats21"][0] if "_t2" not in file]
    other = [file.replace("00000", "00002") for file in PUBLISHED["brats21"][0] if "_seg" not in file]
    first, second = find([make(tmp_path, files + other)], ("T2",))
    assert (first.scan.is_file(), first.truth.is_file()) == (False, True)
    assert (second.scan.is_file(), second.truth.is_file()) == (True, False)


def test_any_folder_of_patients_is_searched(tmp_path: Path) -> None:
    folder = make(
        tmp_path,
        [
            *("sick/a/flair.nii.gz", "sick/a/t1.nii.gz", "sick/a/seg.nii.gz", "sick/a/brain_mask.nii.gz"),
            *("sick/b/B_FLAIR.nii", "sick/b/B_Lesion.nii", "sick/b/b_t1ce.nii"),
            *("flat/7-T2w.nrrd", "flat/7-label.nrrd"),
            *("healthy/8_t1.nii.gz", "healthy/.cache/9_t1.nii.gz", "healthy/8_tissues.nii.gz"),
            "bids/sub-03/ses-1/sub-03_ses-1_T1w.nii.gz",
        ],
    )
    cases = find([folder], CONTRASTS)
    assert told(cases, folder) == [
        ("sub-03", "T1", "bids/sub-03/ses-1/sub-03_ses-1_T1w.nii.gz", None),
        ("7", "T2", "flat/7-T2w.nrrd", "flat/7-label.nrrd"),
        ("8", "T1", "healthy/8_t1.nii.gz", None),
        ("a", "FLAIR", "sick/a/flair.nii.gz", "sick/a/seg.nii.gz"),
        ("a", "T1", "sick/a/t1.nii.gz", "sick/a/seg.nii.gz"),
        ("b", "FLAIR", "sick/b/B_FLAIR.nii", "sick/b/B_Lesion.nii"),
    ]
    assert [case.dataset for case in cases][1:] == ["flat", "healthy", "sick", "sick", "sick"]


def test_a_scan_among_labeled_ones_is_not_taken_for_healthy(tmp_path: Path) -> None:
    folder = make(tmp_path, ["a/flair.nii.gz", "a/seg.nii.gz", "b/flair.nii.gz"])
    assert told(find([folder], CONTRASTS), folder)[1] == ("b", "FLAIR", "b/flair.nii.gz", "b/seg.nii.gz")
    assert not (folder / "b/seg.nii.gz").exists()


def test_a_label_map_without_scan_is_a_case_of_no_contrast(tmp_path: Path) -> None:
    folder = make(tmp_path, ["a/flair.nii.gz", "a/seg.nii.gz", "b/seg.nii.gz", "c/brain_mask.nii.gz"])
    lacking = find([folder], ("FLAIR",))[1:]
    assert [(case.patient, case.contrast, case.scan.exists()) for case in lacking] == [("b", "", False)]


def test_a_label_map_may_be_named_after_the_whole_name_of_its_scan(tmp_path: Path) -> None:
    folder = make(tmp_path, ["7_flair.nii.gz", "7_flair_seg.nii.gz", "8_flair.nii.gz", "8_flair_seg.nii.gz"])
    assert told(find([folder], CONTRASTS), folder) == [
        (patient, "FLAIR", f"{patient}_flair.nii.gz", f"{patient}_flair_seg.nii.gz") for patient in "78"
    ]


def test_a_datalist_says_what_it_likes(tmp_path: Path) -> None:
    entries = [
        {"image": "a_flair.nii.gz", "label": "a.nii.gz", "patient": "Ann", "dataset": "set", "lesion_labels": [1, 3]},
        {"image": "sub-7/scan.nii.gz", "contrast": "T2", "label": None},
    ]
    (tmp_path / "list.json").write_text(
        json.dumps({"training": [{"image": "x_t1.nii.gz"}], "testing": entries, "name": "any"})
    )
    cases = find([tmp_path / "list.json"], CONTRASTS)
    assert told(cases, tmp_path) == [
        ("Ann", "FLAIR", "a_flair.nii.gz", "a.nii.gz"),
        ("sub-7", "T2", "sub-7/scan.nii.gz", None),
    ]
    assert [(case.dataset, case.lesion_labels) for case in cases] == [("set", (1, 3)), ("list", None)]


def test_a_table_is_a_datalist_too(tmp_path: Path) -> None:
    lines = ["image,label,split,ignored_labels", "a_t2.nii.gz,s.nii.gz,,2 4", "b_t2.nii.gz,,train,", "c_t2.nii.gz,,,"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    cases = find([tmp_path / "list.csv"], CONTRASTS)
    assert [(case.scan.name, case.truth is None, case.ignored_labels) for case in cases] == [
        ("a_t2.nii.gz", False, (2, 4)),
        ("c_t2.nii.gz", True, ()),
    ]


@pytest.mark.parametrize(
    "entry", [{"image": "scan.nii.gz"}, {"image": ["a", "b"]}, {"image": "a_t1.nii.gz", "lesion_labels": "one"}, {}]
)
def test_a_datalist_that_cannot_be_used_is_refused(entry: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps({"testing": [entry]}))
    with pytest.raises(BadInput) as refused:
        find([tmp_path / "list.json"], CONTRASTS)
    assert refused.value.code == "bad_datalist"


@pytest.mark.parametrize("place", ["nowhere", "wmh:nowhere", "something:nowhere"])
def test_a_place_that_does_not_exist_is_refused(place: str) -> None:
    with pytest.raises(BadInput) as refused:
        find([place], CONTRASTS)
    assert refused.value.code == "no_data_set"


def test_a_place_without_such_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        find([make(tmp_path, ["a/t1.nii.gz"])], ("FLAIR",))
    assert refused.value.code == "no_cases"


def test_one_data_set_given_twice_has_different_ids(tmp_path: Path) -> None:
    folder = make(tmp_path, PUBLISHED["ixi"][0])
    cases = find([folder, folder], ("T1",))
    assert [case.id for case in cases] == ["IXI-IXI002-T1", "IXI-IXI002-T1-again1"]


def test_every_layout_has_a_miniature() -> None:
    assert set(LAYOUTS) - {"folder"} == set(PUBLISHED)
