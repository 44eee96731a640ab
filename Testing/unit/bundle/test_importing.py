"""A bundle from anywhere is installed whole, or refused; nothing lands outside its folder, nothing in it is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from refused_bundles import archive, refused
from safetensors.torch import load_file, save_file

from conddiffusion_uad.app import cli
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle import importing as bundle_import
from conddiffusion_uad.bundle.importing import import_bundle
from conddiffusion_uad.bundle.monai_bundle import inference_config
from conddiffusion_uad.protocol.bundle_folders import VARIABLE, imported_bundles
from conddiffusion_uad.protocol.failures import EXIT_BUNDLE, EXIT_DONE, BundleFailure, OutputFailure


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


@pytest.mark.parametrize("name", ["residual", "default", "../up", "a/b", ".hidden", "x" * 65, "naïve", "a\nb"])
def test_names_that_cannot_be(name: str, source: Path, home: Path) -> None:
    assert refused(source, home, name=name).code in ("bundle_bad_name", "bundle_exists")


def test_what_macos_adds_to_archives_is_left_out(source: Path, home: Path) -> None:
    made = archive(source, "small/", **{"__MACOSX/small/._LICENSE": b"x", "small/.DS_Store": b"x"})
    assert {path.name for path in import_bundle(made).path.iterdir()} == {path.name for path in source.iterdir()}


def test_what_monai_would_run_is_written_anew(source: Path, home: Path) -> None:
    (source / bundles.INFERENCE).write_text("{\"run\": [\"$__import__('os').system('true')\"]}")
    imported = import_bundle(source)
    assert json.loads((imported.path / bundles.INFERENCE).read_text()) == inference_config()


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
    assert capsys.readouterr().out.splitlines()[-4:] == ["learned", "published-map", "residual", "mine"]
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
