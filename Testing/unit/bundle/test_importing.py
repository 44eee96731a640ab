"""A bundle from anywhere is installed whole, or refused; nothing lands outside its folder, nothing in it is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from conddiffusion_uad.app import cli
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle import importing as bundle_import
from conddiffusion_uad.bundle.importing import import_bundle
from conddiffusion_uad.bundle.monai_bundle import inference_config
from conddiffusion_uad.protocol.bundle_folders import VARIABLE, imported_bundles
from conddiffusion_uad.protocol.failures import EXIT_BUNDLE, EXIT_DONE, BundleFailure, OutputFailure


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of imported bundles."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "home" / "models"))
    return tmp_path / "home" / "models"


@pytest.fixture
def source(small_bundle: Path, tmp_path: Path) -> Path:
    """The folder of a bundle that may be damaged."""
    return shutil.copytree(small_bundle, tmp_path / "source" / "small")


def archive(folder: Path, prefix: str = "", **more: bytes) -> Path:
    """A ZIP archive of a folder, with further entries."""
    path = folder.parent / "small.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                made.write(file, prefix + file.relative_to(folder).as_posix())
        for name, content in more.items():
            made.writestr(name, content)
    return path


def refused(source: Path, home: Path, **options: object) -> BundleFailure:
    """Import what must be refused; nothing may be left of it."""
    with pytest.raises(BundleFailure) as caught:
        import_bundle(source, **options)  # type: ignore[arg-type]
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message and caught.value.hint
    assert not home.exists() or os.listdir(home) == []
    return caught.value


@pytest.mark.parametrize("prefix", [None, "", "small/", "a/small/"])
def test_a_whole_bundle_is_installed(prefix: str | None, source: Path, home: Path) -> None:
    given = source if prefix is None else archive(source, prefix)
    imported = import_bundle(given)
    assert (imported.name, imported.path) == ("small", home / "small")
    assert os.listdir(home) == ["small"]
    assert bundles.locate("small") == home / "small" and "small" in bundles.available()
    original = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    copied = {
        path.relative_to(home / "small"): path.read_bytes() for path in imported.path.rglob("*") if path.is_file()
    }
    assert original == copied


def test_an_installed_bundle_is_replaced_only_by_force(source: Path, home: Path) -> None:
    first = import_bundle(source).sha256
    with pytest.raises(BundleFailure) as caught:
        import_bundle(source)
    assert caught.value.code == "bundle_exists"
    file = source / bundles.CALIBRATION
    file.write_text(file.read_text().replace("0.4,", "0.41,", 1))
    bundles.seal(source)
    assert import_bundle(source, force=True).sha256 != first
    assert import_bundle(source, name="other").name == "other"
    assert sorted(os.listdir(home)) == ["other", "small"]


def test_a_damaged_bundle_does_not_replace_a_whole_one(source: Path, home: Path) -> None:
    first = import_bundle(source).sha256
    (source / bundles.WEIGHTS).write_bytes(b"")
    with pytest.raises(BundleFailure):
        import_bundle(source, force=True)
    assert bundles.load("small").sha256 == first and os.listdir(home) == ["small"]


@pytest.mark.parametrize("name", ["default", "../up", "a/b", ".hidden", "x" * 65, "naïve", "a\nb"])
def test_names_that_cannot_be(name: str, source: Path, home: Path) -> None:
    assert refused(source, home, name=name).code in ("bundle_bad_name", "bundle_exists")


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


def test_what_macos_adds_to_archives_is_left_out(source: Path, home: Path) -> None:
    made = archive(source, "small/", **{"__MACOSX/small/._LICENSE": b"x", "small/.DS_Store": b"x"})
    assert {path.name for path in import_bundle(made).path.iterdir()} == {path.name for path in source.iterdir()}


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


def test_what_monai_would_run_is_written_anew(source: Path, home: Path) -> None:
    (source / bundles.INFERENCE).write_text('{"run": ["$__import__(\'os\').system(\'true\')"]}')
    imported = import_bundle(source)
    assert json.loads((imported.path / bundles.INFERENCE).read_text()) == inference_config()


def test_an_archive_that_lies_about_sizes_is_refused(source: Path, home: Path) -> None:
    path = archive(source)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        info = made.getinfo(bundles.CALIBRATION)
    size = info.file_size.to_bytes(4, "little")
    path.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    refused(path, home)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"Rar!\x1a\x07\0", b"\x1f\x8b" + b"\0" * 50])
def test_what_is_no_archive(content: bytes, source: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert refused(tmp_path / "x.zip", home).code in ("bundle_damaged", "bundle_not_found")
    assert refused(tmp_path / "nowhere.zip", home).code == "bundle_not_found"


def test_an_archive_cut_anywhere_is_refused(source: Path, home: Path) -> None:
    path = archive(source)
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(part * len(whole))])
        refused(path, home)


def test_an_archive_with_a_flipped_byte_is_refused(source: Path, home: Path) -> None:
    path = archive(source)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    refused(path, home)


def test_a_bundle_that_states_no_hash_is_refused(source: Path, home: Path) -> None:
    file = source / bundles.METADATA
    metadata = json.loads(file.read_text())
    del metadata["sha256"]
    file.write_text(json.dumps(metadata))
    assert refused(source, home).code == "bundle_not_calibrated"


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_damage(value: float, source: Path, home: Path) -> None:
    weights = load_file(source / bundles.WEIGHTS)
    weights[sorted(weights)[-1]].view(-1)[0] = value
    save_file(weights, source / bundles.WEIGHTS)
    bundles.seal(source)
    assert refused(source, home).code == "bundle_damaged"


def test_a_calibration_that_is_not_finite_is_damage(source: Path, home: Path) -> None:
    file = source / bundles.CALIBRATION
    values = json.loads(file.read_text())
    values["T1"]["residuals"][-1] = float("nan")
    file.write_text(json.dumps(values))
    bundles.seal(source)
    assert refused(source, home).code == "bundle_damaged"


def test_the_command(source: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bundle", "import", str(archive(source)), "--name", "mine"]) == EXIT_DONE
    assert cli.main(["bundle", "list"]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines()[-2:] == ["default", "mine"]
    assert cli.main(["bundle", "import", str(source), "--name", "mine"]) == EXIT_BUNDLE
    assert cli.main(["bundle", "import", str(source), "--name", "mine", "--force"]) == EXIT_DONE


def test_without_a_home_there_is_no_place_for_it(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_import, "imported_bundles", lambda: None)
    with pytest.raises(OutputFailure) as caught:
        import_bundle(source)
    assert VARIABLE in caught.value.hint


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_system_has_its_place(system: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (VARIABLE, "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    place = imported_bundles()
    assert place is not None and place.is_relative_to(tmp_path) and place.name == "Models"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the home folder elsewhere")
def test_nobody_has_no_place(environment: dict[str, str]) -> None:
    """A user that is in no list of users, and has no HOME."""
    program = (
        "from pathlib import Path; from conddiffusion_uad.protocol import bundle_folders\n"
        "def nobody(): raise RuntimeError('no home')\n"
        "Path.home = nobody; assert bundle_folders.imported_bundles() is None\n"
        "from conddiffusion_uad.bundle import bundle; assert bundle.available()"
    )
    bare = {key: value for key, value in environment.items() if key not in ("HOME", VARIABLE, "XDG_DATA_HOME")}
    subprocess.run([sys.executable, "-c", program], env=bare, check=True)
