"""Bundles made to do harm: nothing lands outside their folder, nothing in them is run, nothing is taken for them."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import sys
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from refused_bundles import archive, refused

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle import importing as bundle_import
from conddiffusion_uad.protocol.failures import BundleFailure

OUTSIDE = [
    "../evil.txt",
    "../../evil.txt",
    "{folder}/evil.txt",
    "configs/../../evil.txt",
    "..\\evil.txt",
    "C:\\evil.txt",
]


@pytest.mark.parametrize(
    "name", [*OUTSIDE, "C:evil.txt", "a/b/c/d/evil.txt", "nul\0.txt", "trailing./evil.txt", "~/e.txt"]
)
@pytest.mark.parametrize("prefix", ["", "small/"])
def test_an_archive_cannot_write_outside_its_folder(
    name: str, prefix: str, source: Path, home: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    name = name.format(folder=tmp_path)
    made = archive(source, prefix, **{name if name.startswith("/") else prefix + name: b"evil"})
    assert refused(made, home).code == "bundle_unsafe"
    made.unlink()
    assert sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts) == before


def test_links_in_an_archive_are_refused(source: Path, home: Path) -> None:
    info = zipfile.ZipInfo("docs/link.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = archive(source)
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(info, "/etc/passwd")
    assert refused(path, home).code == "bundle_unsafe"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("kind", ["file", "folder", "fifo"])
def test_links_and_devices_in_a_folder_are_refused(kind: str, source: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    if kind == "fifo":
        os.mkfifo(source / "docs.txt")
    else:
        (source / "docs.txt").symlink_to(tmp_path / ("secret.txt" if kind == "file" else ""))
    assert refused(source, home).code == "bundle_unsafe"


class Evil:
    """Pickled, it leaves a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self._trace), "w")


def evil(trace: Path) -> bytes:
    return pickle.dumps(Evil(trace))


@pytest.mark.parametrize("beside", [False, True], ids=["instead", "beside"])
@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "model.pkl", "pytorch_model.bin"])
def test_pickled_weights_are_refused_and_never_loaded(
    name: str, beside: bool, source: Path, home: Path, tmp_path: Path
) -> None:
    if not beside:
        (source / bundles.WEIGHTS).unlink()
    (source / "models" / name).write_bytes(evil(tmp_path / "trace"))
    assert refused(source, home).code == "bundle_pickled"
    assert refused(archive(source), home).code == "bundle_pickled"
    if beside:
        bundles.load(str(source))
    else:
        with pytest.raises(BundleFailure):
            bundles.load(str(source))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("file", [bundles.WEIGHTS, bundles.CALIBRATION, bundles.METADATA])
def test_a_pickle_under_another_name_is_damage(file: str, source: Path, home: Path, tmp_path: Path) -> None:
    (source / file).write_bytes(evil(tmp_path / "trace"))
    assert refused(source, home).code == "bundle_damaged"
    assert not (tmp_path / "trace").exists()


def test_programs_are_refused(source: Path, home: Path) -> None:
    (source / "scripts").mkdir()
    (source / "scripts" / "run.py").write_text("print('run')")
    assert refused(source, home).code == "bundle_unsafe"


def test_an_archive_that_unpacks_to_too_much_is_refused(
    source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_import, "MOST_BYTES_OF_TEXT", 1 << 20)
    bomb = archive(source, **{"docs/bomb.txt": b"0" * (50 << 20)})
    assert bomb.stat().st_size < 2 << 20
    assert refused(bomb, home).code == "bundle_too_large"
    monkeypatch.setattr(bundle_import, "MOST_FILES", 5)
    assert refused(archive(source, **{f"docs/{i}.txt": b"" for i in range(9)}), home).code == "bundle_too_large"


def test_a_folder_of_many_files_is_not_walked_to_its_end(source: Path, home: Path) -> None:
    seen = []
    for number in range(bundle_import.MOST_FILES + 50):
        (source / f"a{number:04}.txt").write_text("")
    with ExitStack() as stack, pytest.raises(BundleFailure) as caught:
        for entry in bundle_import._few(bundle_import._entries(source, stack)):
            seen.append(entry)
    assert caught.value.code == "bundle_too_large" and len(seen) == bundle_import.MOST_FILES
    assert refused(source, home).code == "bundle_too_large"


def test_a_folder_of_many_folders_is_not_walked_to_its_end(tmp_path: Path, home: Path) -> None:
    for number in range(bundle_import.MOST_FILES + 1):
        (tmp_path / "empty" / f"{number:04}").mkdir(parents=True)
    assert refused(tmp_path / "empty", home).code == "bundle_too_large"


def test_an_archive_that_lies_about_sizes_is_refused(source: Path, home: Path) -> None:
    path = archive(source)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        info = made.getinfo(bundles.CALIBRATION)
    size = info.file_size.to_bytes(4, "little")
    path.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    refused(path, home)


HOSTILE = {
    "a network larger than memory": {"model": {"condition": 2000, "denoiser": {"base": 2048, "blocks": 16}}},
    "numbers without limit": {"model": {"condition": 10**12}},
    "lists without end": {"model": {"encoder": {"layers": [1] * 10_000}}},
    "a negative size": {"model": {"condition": -1}},
    "a grid without end": {"grid": {"size": [10**6, 10**6, 10**6]}},
    "levels that are none": {"levels": ["a"]},
    "no level": {"levels": []},
    "a smoothing without end": {"residual": {"T1": {"size": 1e9}}},
    "no contrast": {"residual": {}},
    "a grid that is nowhere": {"grid": {"spacing": [float("nan")] * 3}},
    "a grid far from every head": {"grid": {"origin": [1e9, 0, 0]}},
    "a grid without axes": {"grid": {"direction": [0.0] * 9}},
    "noise finer than memory": {"model": {"noise": {"octaves": 10, "wavelength": 16.0}}},
    "noise that is none": {"model": {"noise": {"wavelength": 0}}},
    "noise of another kind": {"model": {"noise": {"octaves": "many"}}},
    "an unknown contrast": {"residual": {"<script>": {}}},
}


def merged(values: dict, changes: dict) -> dict:
    both = {**values, **changes}
    for key, change in changes.items():
        if isinstance(change, dict) and change and isinstance(values.get(key), dict):
            both[key] = merged(values[key], change)
    return both


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_configuration_that_asks_for_the_impossible_is_damage(changes: dict, source: Path, home: Path) -> None:
    file = source / bundles.METADATA
    metadata = json.loads(file.read_text())
    del metadata["sha256"]  # what nobody sealed is not refused as altered, but for what it says
    file.write_text(json.dumps(merged(metadata, {"conddiffusion_uad": changes})))
    assert refused(source, home).code == "bundle_damaged"
