"""Training data with everything wrong that can be: all of it is told at once, and the cache can be relied on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data import cache as caches
from conddiffusion_uad.training.data.corpus import Part, load_corpus, split_of
from conddiffusion_uad.training.recipe import Source

GRID = Grid((24, 24, 24), (8.0, 8.0, 8.0), (-92.0, -78.0, -90.0))
SCANS = Source("scans", "scans/*.nii.gz", weight=1.0, held_out=0, contrast="T1")


@pytest.fixture
def data(tmp_path: Path, scan_file: Path) -> Path:
    """A folder with one scan that can be used."""
    (tmp_path / "data" / "scans").mkdir(parents=True)
    shutil.copy(scan_file, tmp_path / "data" / "scans" / "good_T1.nii.gz")
    return tmp_path / "data"


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
    write("holes.nii.gz", np.where(values > values.mean(), np.nan, values))
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
    (data / "scans" / "text.nii.gz").write_text("no image")
    lines: list[str] = []
    (part,) = load(data, lines=lines, skip_bad=True)
    assert [scan.name for scan in part.fit] == ["good_T1.nii.gz"]
    assert any("Leaving out" in line and "text.nii.gz" in line for line in lines)


def test_what_only_the_preparation_shows_is_told_too(data: Path) -> None:
    (data / "scans" / "good_T1.nii.gz").rename(data / "scans" / "scan.nii.gz")
    with pytest.raises(BadInput, match=r"scan\.nii\.gz: It looks T1- or FLAIR-weighted, not T2-weighted"):
        load(data, Source("scans", "scans/*.nii.gz", weight=1.0, held_out=0, contrast="T2"))


def test_unusable_label_maps_and_slices(data: Path) -> None:
    good = sitk.ReadImage(str(data / "scans" / "good_T1.nii.gz"))
    sitk.WriteImage(sitk.Cast(good > 0, sitk.sitkUInt8), str(data / "ones.nii.gz"))
    np.savez(data / "other.npz", images=np.ones((2, 8, 8)))
    np.savez(data / "empty.npz", image=np.zeros((2, 8, 8)))
    (data / "cut.npz").write_bytes((data / "empty.npz").read_bytes()[:-100])
    np.savez(data / "holes.npz", image=np.full((2, 8, 8), np.nan))
    sources = (
        Source("labels", "ones.nii.gz", weight=1.0, held_out=0),
        Source("slices", "*.npz", weight=1.0, held_out=0, contrast="T1"),
    )
    with pytest.raises(BadInput) as caught:
        load(data, *sources)
    for words in ("0 ml of brain", "no .npz archive with", "Nothing is shown in slices 0, 1", "not numbers"):
        assert words in caught.value.message


def test_a_subject_in_two_splits_is_told(data: Path) -> None:
    rows = ["image,contrast,subject,split", "scans/good_T1.nii.gz,T1,anna,train", "scans/twin_T1.nii.gz,T1,anna,test"]
    (data / "list.csv").write_text("\n".join([*rows, rows[1]]))
    with pytest.raises(BadInput) as caught:
        load_corpus((SCANS,), data / "list.csv", GRID, data / ".cache", lambda _: None)
    assert "subject anna is also in the split 'train'" in caught.value.message
    assert "listed twice" in caught.value.message


@pytest.fixture
def slices(data: Path) -> Source:
    """A source that is prepared in a moment."""
    np.savez(data / "slices.npz", image=np.random.default_rng(0).uniform(50, 100, (3, 24, 24)))
    return Source("slices", "slices.npz", weight=1.0, held_out=1, contrast="T1", spacing=8.0)


def test_a_damaged_entry_of_the_cache_is_made_again(data: Path, slices: Source) -> None:
    lines: list[str] = []
    (first,) = load(data, slices, lines=lines)
    (entry,) = (data / ".cache").iterdir()
    for damage in (lambda: (entry / "mask").unlink(), lambda: flip(entry / "volume"), lambda: cut(entry / "volume")):
        before = first.fit[0].volume.copy()
        damage()
        (again,) = load(data, slices, lines=lines)
        assert np.array_equal(again.fit[0].volume, before)
    assert sum("Preparing" in line for line in lines) == 4
    load(data, slices, lines=lines)
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


def test_an_interrupted_entry_is_made_again(data: Path, slices: Source) -> None:
    load(data, slices)
    (entry,) = (data / ".cache").iterdir()
    (entry / "entry.json").unlink()
    entry.rename(entry.with_name(f"{entry.name}.part"))
    lines: list[str] = []
    load(data, slices, lines=lines)
    assert [path.name for path in (data / ".cache").iterdir()] == [entry.name]
    assert len(lines) == 2


def test_the_cache_of_other_code_or_another_atlas_is_not_used(
    data: Path, slices: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    load(data, slices, lines=lines)
    monkeypatch.setattr(caches, "preparation", lambda: "another")
    load(data, slices, lines=lines)
    assert sum("Preparing" in line for line in lines) == 2


def test_scans_of_one_subject_stay_together(data: Path) -> None:
    """The subject's other contrast is held out, too, because one of its scans is."""
    images = np.random.default_rng(0).uniform(50, 100, (5, 24, 24))
    names = ["sub-2_a.npz", "sub-3_a.npz", "sub-1_a.npz", "sub-1_b.npz", "sub-2_b.npz"]
    for name, image in zip(names, images, strict=True):
        np.savez(data / name, image=image[None])
    rows = [f"{name},slices,{'T1' if 'a' in name else 'T2'}" for name in names]
    (data / "list.csv").write_text("\n".join(["image,kind,contrast", *rows]))
    sources = [Source("slices", "", weight=1.0, held_out=n, contrast=c) for n, c in ((1, "T1"), (0, "T2"))]
    t1, t2 = load_corpus(sources, data / "list.csv", GRID, data / ".cache", lambda _: None)
    assert split_of([t1, t2]) == {"sub-1": "held_out", "sub-2": "train", "sub-3": "train"}
    assert [item.name for item in t1.held_out] == ["sub-1_a.npz[0]"]
    assert [item.name for item in t2.held_out] == ["sub-1_b.npz[0]"]
