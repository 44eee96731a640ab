"""Training data with everything wrong that can be: all of it is told at once, and the cache can be relied on."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from thin_files import write_thin

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data import cache as caches
from conddiffusion_uad.training.data.corpus import Part, load_corpus, split_of
from conddiffusion_uad.training.data.source import Source

GRID = Grid((24, 24, 24), (8.0, 8.0, 8.0), (-92.0, -78.0, -90.0))
TEXTURE = np.pad(np.random.default_rng(0).uniform(50, 100, (18, 16)), ((3, 3), (4, 4)))
SCANS = Source("scans", "scans/*.nii.gz", weight=1.0, held_out=0, contrast="T1")


@pytest.fixture
def data(tmp_path: Path, scan_file: Path) -> Path:
    """A folder with one scan that can be used."""
    (tmp_path / "data" / "scans").mkdir(parents=True)
    shutil.copy(scan_file, tmp_path / "data" / "scans" / "good_T1.nii.gz")
    return tmp_path / "data"


def thin_source(files: str) -> Source:
    return Source("scans", files, weight=1.0, held_out=0, contrast="T1")


def load(data: Path, *sources: Source, lines: list[str] | None = None, skip_bad: bool = False) -> list[Part]:
    log = (lambda _: None) if lines is None else lines.append
    return load_corpus(sources or (SCANS,), data, GRID, data / ".cache", log, skip_bad=skip_bad)


def spoil(data: Path) -> dict[str, str]:
    """Put unusable files beside the good one; returns a word of what is to be said about each."""
    folder = data / "scans"
    good = sitk.ReadImage(str(folder / "good_T1.nii.gz"))
    values = sitk.GetArrayFromImage(good)

    def write(name: str, array: np.ndarray) -> None:
        image = sitk.GetImageFromArray(array.astype(np.float32))
        if array.ndim == 3:
            image.CopyInformation(good)
        sitk.WriteImage(image, str(folder / name))

    (folder / "text.nii.gz").write_text("no image")
    (folder / "cut.nii.gz").write_bytes((folder / "good_T1.nii.gz").read_bytes()[:20_000])
    write("flat.nii.gz", values[20])
    holes = values.copy()
    holes[tuple(slice(size // 3, size // 2) for size in values.shape)] = np.nan
    write("holes.nii.gz", holes)
    write("nothing.nii.gz", 0 * values)
    write("labels.nii.gz", np.rint(3 * values / values.max()))
    write(
        "speck.nii.gz",
        np.pad(np.random.default_rng(0).uniform(50, 100, (8, 8, 8)), [(9, n - 17) for n in values.shape]),
    )
    write("again_T1.nii.gz", values)
    write("other_FLAIR.nii.gz", 1.01 * values)
    return {
        "text.nii.gz": "",
        "cut.nii.gz": "",
        "flat.nii.gz": "not a 3D volume",
        "holes.nii.gz": "not numbers",
        "nothing.nii.gz": "Every voxel",
        "labels.nii.gz": "label map",
        "speck.nii.gz": "no brain",
        "good_T1.nii.gz": "shows the same as",
        "other_FLAIR.nii.gz": "name says FLAIR",
    }


def test_everything_that_is_wrong_is_told_at_once_and_before_anything_is_prepared(data: Path) -> None:
    expected, lines = spoil(data), []
    with pytest.raises(BadInput) as caught:
        load(data, lines=lines)
    told = caught.value.message.splitlines()
    assert told[0].endswith(f"({len(expected)}):") and len(told) == 1 + len(expected)
    for name, words in expected.items():
        assert any(f"{name}: " in line and words in line for line in told), name
    assert lines == ["Checking 10 files"]


def test_bad_data_end_with_exit_code_2_before_the_training(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (data / "scans" / "text.nii.gz").write_text("no image")
    recipe = data / "recipe.toml"
    shipped = Path(caches.__file__).parents[1] / "recipes" / "starter.toml"
    head = shipped.read_text(encoding="utf-8").partition("[[source]]")[0]
    source = 'kind = "scans"\nfiles = "scans/*.nii.gz"\ncontrast = "T1"\nweight = 1.0\nheld_out = 0\n'
    recipe.write_text(f"{head}[[source]]\n{source}", encoding="utf-8")
    assert main(["train", "fit", "--recipe", str(recipe), "--data", str(data), "--output", str(data / "bundle")]) == 2
    error = capfd.readouterr().err
    assert "text.nii.gz" in error and "--skip-bad" in error


def test_the_rest_can_be_used_without_the_bad_ones(data: Path) -> None:
    write_thin(data / "good_T1.nii.gz", TEXTURE)
    (data / "text.nii.gz").write_text("no image")
    lines: list[str] = []
    (part,) = load(data, thin_source("*.nii.gz"), lines=lines, skip_bad=True)
    assert [scan.name for scan in part.fit] == ["good_T1.nii.gz"]
    assert any("Leaving out" in line and "text.nii.gz" in line for line in lines)


def test_what_only_the_preparation_shows_is_told_too(data: Path) -> None:
    (data / "scans" / "good_T1.nii.gz").rename(data / "scans" / "scan.nii.gz")
    with pytest.raises(BadInput, match=r"scan\.nii\.gz: It looks T1- or FLAIR-weighted, not T2-weighted"):
        load(data, Source("scans", "scans/*.nii.gz", weight=1.0, held_out=0, contrast="T2"))


def test_a_label_map_without_brain_is_told(data: Path) -> None:
    good = sitk.ReadImage(str(data / "scans" / "good_T1.nii.gz"))
    sitk.WriteImage(sitk.Cast(good > 0, sitk.sitkUInt8), str(data / "ones.nii.gz"))
    with pytest.raises(BadInput, match="0 ml of brain"):
        load(data, Source("labels", "ones.nii.gz", weight=1.0, held_out=0))


def test_thin_volumes_are_cut_to_what_they_cover_and_those_beside_the_grid_told(data: Path) -> None:
    write_thin(data / "here.nii.gz", TEXTURE, position=7)
    write_thin(data / "far.nii.gz", 2 * TEXTURE, position=40)
    with pytest.raises(BadInput, match=r"far\.nii\.gz: Nothing of it lies on the grid"):
        load(data, thin_source("*.nii.gz"))
    (part,) = load(data, thin_source("here.nii.gz"))
    (scan,) = part.fit
    assert scan.thin and scan.first == 7 and scan.volume.shape == (1, 24, 24)
    assert 0 <= scan.volume.min() < scan.volume.max() <= 1


def test_a_brain_of_one_intensity_is_refused_rather_than_divided_by_its_range(data: Path) -> None:
    write_thin(data / "flat.nii.gz", 80.5 * (TEXTURE > 0))
    with pytest.raises(BadInput, match="only 2 different values"):
        load(data, thin_source("flat.nii.gz"))


def test_a_subject_in_two_splits_is_told(data: Path) -> None:
    rows = ["image,contrast,subject,split", "scans/good_T1.nii.gz,T1,anna,train", "scans/twin_T1.nii.gz,T1,anna,test"]
    (data / "list.csv").write_text("\n".join([*rows, rows[1]]))
    with pytest.raises(BadInput) as caught:
        load_corpus((SCANS,), data / "list.csv", GRID, data / ".cache", lambda _: None)
    assert "subject anna is also in the split 'train'" in caught.value.message
    assert "listed twice" in caught.value.message


@pytest.fixture
def thin(data: Path) -> Source:
    """A source that is prepared in a moment."""
    write_thin(data / "thin.nii.gz", TEXTURE)
    return thin_source("thin.nii.gz")


def test_a_damaged_entry_of_the_cache_is_made_again(data: Path, thin: Source) -> None:
    lines: list[str] = []
    (first,) = load(data, thin, lines=lines)
    (entry,) = (data / ".cache").iterdir()
    for damage in (lambda: (entry / "mask").unlink(), lambda: flip(entry / "volume"), lambda: cut(entry / "volume")):
        before = first.fit[0].volume.copy()
        damage()
        (again,) = load(data, thin, lines=lines)
        assert np.array_equal(again.fit[0].volume, before)
    assert sum("Preparing" in line for line in lines) == 4
    load(data, thin, lines=lines)
    assert sum("Preparing" in line for line in lines) == 4


def flip(file: Path) -> None:
    """Change one bit. The file is replaced: it is mapped."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Drop the last byte."""
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-1])


def test_an_interrupted_entry_is_made_again(data: Path, thin: Source) -> None:
    load(data, thin)
    (entry,) = (data / ".cache").iterdir()
    (entry / "entry.json").unlink()
    entry.rename(entry.with_name(f"{entry.name}.part"))
    lines: list[str] = []
    load(data, thin, lines=lines)
    assert [path.name for path in (data / ".cache").iterdir()] == [entry.name]
    assert len(lines) == 2


def test_the_cache_of_other_code_or_another_atlas_is_not_used(
    data: Path, thin: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    load(data, thin, lines=lines)
    monkeypatch.setattr(caches, "preparation", lambda: "another")
    load(data, thin, lines=lines)
    assert sum("Preparing" in line for line in lines) == 2


def test_scans_of_one_subject_stay_together(data: Path) -> None:
    """The subject's other contrast is held out, too, because one of its scans is."""
    names = ["sub-2_a.nii.gz", "sub-3_a.nii.gz", "sub-1_a.nii.gz", "sub-1_b.nii.gz", "sub-2_b.nii.gz"]
    for number, name in enumerate(names):
        write_thin(data / name, TEXTURE + number * (TEXTURE > 0))
    rows = [f"{name},scans,{'T1' if name[6] == 'a' else 'T2'}" for name in names]
    (data / "list.csv").write_text("\n".join(["image,kind,contrast", *rows]))
    sources = [Source("scans", "", weight=1.0, held_out=n, contrast=c) for n, c in ((1, "T1"), (0, "T2"))]
    t1, t2 = load_corpus(sources, data / "list.csv", GRID, data / ".cache", lambda _: None)
    assert split_of([t1, t2]) == {"sub-1": "held_out", "sub-2": "train", "sub-3": "train"}
    assert [item.name for item in t1.held_out] == ["sub-1_a.nii.gz"]
    assert [item.name for item in t2.held_out] == ["sub-1_b.nii.gz"]


def test_nothing_is_learned_from_a_source_without_weight_whatever_the_datalist_declares(data: Path) -> None:
    for number, subject in enumerate(["anna", "bert", "carl", "dora"]):
        write_thin(data / f"{subject}.nii.gz", TEXTURE + number * (TEXTURE > 0))
    rows = [
        "anna.nii.gz,T1,anna,train",
        "bert.nii.gz,T1,bert,",
        "carl.nii.gz,T1,carl,test",
        "dora.nii.gz,T2,dora,train",
    ]
    (data / "list.csv").write_text("\n".join(["image,contrast,subject,split", *rows]))
    sources = [Source("scans", "", weight=w, held_out=0, contrast=c) for w, c in ((0.0, "T1"), (1.0, "T2"))]
    judged, learned = load_corpus(sources, data / "list.csv", GRID, data / ".cache", lambda _: None)
    assert not judged.fit and [item.subject for item in judged.held_out] == ["anna", "bert"]
    assert judged.test == ("carl.nii.gz",) and [item.subject for item in learned.fit] == ["dora"]


def test_all_code_that_prepares_decides_the_cache() -> None:
    """What :mod:`prepared` imports, directly or not, is hashed; the protocol has only texts and the source is known."""
    package = Path(caches.__file__).parents[2]
    hashed = {file for pattern in caches.CODE for file in package.glob(pattern)}
    reached, waiting = set(), {package / "training" / "data" / "prepared.py"}
    while waiting:
        file = waiting.pop()
        reached.add(file)
        for name in imports(file):
            path = package.parent / Path(*name.split("."))
            found = next((p for p in (path.with_suffix(".py"), path.parent.with_suffix(".py")) if p.is_file()), None)
            if found and found not in reached and "protocol" not in found.parts and found.name != "source.py":
                waiting.add(found)
    assert len(reached) > 15 and reached <= hashed


def imports(file: Path) -> Iterator[str]:
    """The names that a file imports from the engine."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conddiffusion_uad"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
