import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.data.checks import problems, usable
from conddiffusion_uad.evaluation.data.trained_on import TrainedOn
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.data_checks import Problem, failure, told
from conddiffusion_uad.training.data.splits import TRAINED_ON, subject_hash

SHAPE = (12, 14, 16)
RNG = np.random.default_rng(0)
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes an array (x, y, z) as an image with voxels of 10 mm, at a place in the folder of the test."""

    def saving(name: str, values: np.ndarray, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
        affine = np.diag([10.0, 10.0, 10.0, 1.0])
        affine[:3, 3] = shift
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, affine), path)
        return path

    return saving


@pytest.fixture
def case(save: Save) -> Case:
    """A labeled scan without any problem."""
    scan = save("p/flair.nii.gz", RNG.random(SHAPE).astype(np.float32))
    return Case("p", "set", "FLAIR", scan, save("p/seg.nii.gz", lesion()))


def lesion(value: int = 1) -> np.ndarray:
    values = np.zeros(SHAPE, np.uint8)
    values[4:6, 4:6, 4:6] = value
    return values


def messages(found: Sequence[Problem], *, fatal: bool) -> list[str]:
    return [problem.message for problem in found if problem.fatal == fatal]


def test_a_sound_case_has_no_problem(case: Case) -> None:
    assert problems([case]) == []


def test_a_label_on_another_grid_is_noted(case: Case, save: Save) -> None:
    save("p/seg.nii.gz", lesion().repeat(2, 0))
    found = problems([case])
    assert messages(found, fatal=True) == []
    assert "on another grid than its FLAIR scan" in messages(found, fatal=False)[0]
    assert usable([case], found) == [case]


def test_a_label_off_by_rounding_is_on_the_same_grid(case: Case, save: Save) -> None:
    save("p/seg.nii.gz", lesion(), shift=(0.01, 0.0, 0.0))
    assert problems([case]) == []


@pytest.mark.parametrize(("shift", "fatal", "part"), [(500.0, True, "lies outside"), (105.0, False, "50% of its")])
def test_a_lesion_outside_of_the_scan_is_told(case: Case, save: Save, shift: float, fatal: bool, part: str) -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[:2, 0, 0] = 1
    save("p/seg.nii.gz", values, shift=(shift, 0.0, 0.0))
    assert any(part in message for message in messages(problems([case]), fatal=fatal))


def test_an_empty_label_is_noted(case: Case, save: Save) -> None:
    save("p/seg.nii.gz", lesion(0))
    assert "No voxel of it is lesion" in messages(problems([case]), fatal=False)[0]
    save("p/seg.nii.gz", lesion(2))
    assert "No voxel" in told(problems([replace(case, lesion_labels=(1,), ignored_labels=(2,))]))[0]


def test_which_of_several_labels_count_is_noted(case: Case, save: Save) -> None:
    values = lesion()
    values[0, 0, :3] = (2, 3, 4)
    save("p/seg.nii.gz", values)
    assert messages(problems([case]), fatal=False) == ["It has the labels 1, 2, 3, 4: all of them count as lesion."]
    told_about = replace(case, lesion_labels=(1, 4), ignored_labels=(2,))
    assert messages(problems([told_about]), fatal=False) == ["Its labels 3 do not count as lesion; 1, 4 do."]
    assert problems([replace(case, lesion_labels=(1, 2, 3, 4))]) == []


def test_a_label_of_the_whole_brain_is_refused(case: Case, save: Save) -> None:
    save("p/seg.nii.gz", np.ones(SHAPE, np.uint8))
    assert "2688 ml as lesion" in messages(problems([case]), fatal=True)[0]


def test_missing_pairs_are_refused(case: Case) -> None:
    without_label = replace(case, truth=case.truth.with_name("none.nii.gz"))
    without_scan = replace(case, patient="b", scan=case.scan.with_name("none.nii.gz"))
    nothing = Case("c", "set", "T1", case.scan.with_name("nothing.nii.gz"))
    cases = [without_label, without_scan, nothing]
    found = problems(cases)
    assert [problem.file.name for problem in found] == ["none.nii.gz", "seg.nii.gz", "nothing.nii.gz"]
    assert all(problem.fatal for problem in found)
    assert usable([case, *cases], found) == [case]


@pytest.mark.parametrize("name", ["p/flair.nii.gz", "p/seg.nii.gz", "p/flair.nii"])
def test_a_truncated_file_is_refused(case: Case, save: Save, name: str) -> None:
    path = save(name, RNG.random(SHAPE).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    found = problems([replace(case, scan=path) if "flair" in name else case])
    assert [(problem.file, problem.fatal) for problem in found] == [(path, True)]
    assert "cut off or damaged" in found[0].message


def test_a_file_of_several_gzip_parts_is_whole(case: Case) -> None:
    content = gzip.decompress(case.scan.read_bytes())
    case.scan.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    assert problems([case]) == []


def test_what_is_no_image_is_refused(case: Case) -> None:
    case.scan.write_text("no image")
    assert "name of a NIfTI" in messages(problems([case]), fatal=True)[0]
    case.scan.write_bytes(b"")
    assert messages(problems([case]), fatal=True)


def test_a_scan_of_one_slice_is_refused(case: Case, save: Save) -> None:
    save("p/flair.nii.gz", RNG.random((12, 14, 1)).astype(np.float32))
    assert "is not a 3D volume" in messages(problems([case]), fatal=True)[0]


def test_the_same_scan_counts_once(case: Case, tmp_path: Path) -> None:
    copy = tmp_path / "other" / "t2.nii.gz"
    copy.parent.mkdir()
    copy.write_bytes(case.scan.read_bytes())
    again = Case("x", "set", "T2", copy)
    found = problems([case, again, replace(case, repeat=1)])
    assert [(problem.file, problem.fatal) for problem in found] == [(case.scan, True), (copy, True)]
    assert usable([case, again, replace(case, repeat=1)], found) == [case]


def test_problems_of_one_kind_are_told_together(tmp_path: Path) -> None:
    many = [Problem(tmp_path / f"{i}", "It is empty.", "Fill it.") for i in range(7)]
    lines = told([*many, Problem(tmp_path / "x", "It is odd.", fatal=False)])
    assert lines[0] == "  7 files: It is empty. Fill it."
    assert lines[1:7] == [*(f"    {tmp_path / str(i)}" for i in range(5)), "    and 2 more"]
    assert lines[7:] == [f"  {tmp_path / 'x'}: It is odd."]
    failed = failure([*many, Problem(tmp_path / "x", "It is odd.", fatal=False)], "evaluation")
    assert failed.code == "bad_evaluation_data"
    assert "(7)" in failed.message and "odd" not in failed.message


RECIPE = """
[[source]]
kind = "scans"
files = "ixi/*.nii.gz"
contrast = "T1"
weight = 0.5
held_out = 1

[[source]]
kind = "scans"
files = "flair/*.nii.gz"
contrast = "FLAIR"
weight = 0.5
held_out = 1
"""


@pytest.fixture
def trained(small_bundle: Path, tmp_path: Path) -> Callable[..., Bundle]:
    """A bundle whose recipe took scans of IXI and thin volumes, and held out IXI002 and one of these."""
    recipe = (
        "[fit]\nsamples = 8\nbatch = 4\nlearning_rate = 1e-3\nprecision = 'fp32'\nobjective = { kind = 'denoising' }\n"
    )
    (tmp_path / bundles.RECIPE).parent.mkdir(parents=True)
    (tmp_path / bundles.RECIPE).write_text(TINY_MODEL + recipe + RECIPE)
    held_out = ["IXI002-Guys-0828-T1.nii.gz", "0_flair.nii.gz"]

    def loading(**metadata: object) -> Bundle:
        return replace(bundles.load(str(small_bundle)), path=tmp_path, metadata={"held_out": held_out, **metadata})

    return loading


@pytest.fixture
def ixi(save: Save) -> list[Case]:
    """Two scans of IXI, as a training may have seen them."""
    names = ("IXI002-Guys-0828-T1", "IXI012-HH-1211-T1")
    scans = [save(f"data/ixi/{name}.nii.gz", RNG.random(SHAPE).astype(np.float32)) for name in names]
    return [Case(scan.name[:6], "IXI", "T1", scan) for scan in scans]


def test_a_subject_that_the_bundle_names_is_refused_unless_allowed(
    ixi: list[Case], trained: Callable[..., Bundle]
) -> None:
    known = TrainedOn.of(trained(**{TRAINED_ON: [subject_hash("IXI012")]}))
    found = problems(ixi, known)
    assert [(p.file, p.cases) for p in found if p.fatal] == [(ixi[1].scan, (ixi[1],))]
    assert "trained on" in failure(found, "evaluation").message
    allowed = problems(ixi, known, allow_trained=True)
    assert messages(allowed, fatal=True) == []
    assert "The bundle was trained on whom it shows." in messages(allowed, fatal=False)


def test_another_contrast_of_a_subject_trained_on_is_refused(
    ixi: list[Case], trained: Callable[..., Bundle], save: Save
) -> None:
    scan = save("elsewhere/IXI012-HH-1211-T2.nii.gz", RNG.random(SHAPE).astype(np.float32))
    case = Case("anybody", "set", "T2", scan)
    found = problems([case], TrainedOn.of(trained(), ixi[0].scan.parents[1]))
    assert messages(found, fatal=True) == ["The bundle was trained on whom it shows."]


def test_training_data_at_hand_tell_renamed_copies(
    ixi: list[Case], trained: Callable[..., Bundle], tmp_path: Path
) -> None:
    copies = [tmp_path / f"{name}_t1.nii.gz" for name in "xy"]
    for case, copy in zip(ixi, copies, strict=True):
        copy.write_bytes(case.scan.read_bytes())
    kept, seen = (Case(copy.name, "set", "T1", copy) for copy in copies)
    by_name = Case("IXI012", "other", "T2", ixi[0].scan)
    known = TrainedOn.of(trained(), tmp_path / "data")
    assert known.complete
    assert [known.includes(case) for case in (kept, seen, by_name)] == [False, True, True]
    assert not TrainedOn.of(trained()).includes(seen)


def test_without_the_training_data_names_raise_a_suspicion(ixi: list[Case], trained: Callable[..., Bundle]) -> None:
    found = problems(ixi, TrainedOn.of(trained()))
    assert messages(found, fatal=True) == []
    told_of = {problem.message.split(":")[0].split(",")[0]: problem.cases for problem in found}
    assert told_of == {
        "The bundle may have been trained on it": (ixi[1],),
        "The bundle was calibrated on whom it shows": (ixi[0],),
        "The bundle does not tell all whom it": (),
    }


def test_a_bundle_that_started_from_another_is_never_wholly_known(
    ixi: list[Case], trained: Callable[..., Bundle]
) -> None:
    data = ixi[0].scan.parents[1]
    assert TrainedOn.of(trained(), data).complete
    assert not TrainedOn.of(trained(started_from="0" * 64), data).complete


def test_a_recipe_that_cannot_be_read_tells_nothing_unless_it_is_needed(
    ixi: list[Case], trained: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = trained()
    (tmp_path / bundles.RECIPE).write_text("[of]\nanother = 'version'\n")
    known = TrainedOn.of(bundle)
    assert not known.complete and not known.sources
    with pytest.raises(BadInput):
        TrainedOn.of(bundle, ixi[0].scan.parents[1])
