import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_config

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.calibration import Calibration
from conddiffusion_uad.bundle.config import FORMAT
from conddiffusion_uad.protocol.failures import BundleFailure

CONFIG = tiny_config()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    bundles.save(tmp_path / "tiny", CONFIG, CONFIG.build(), {"version": "1"})
    bundles.save_calibration(tmp_path / "tiny", {"T2": Calibration.measure([[np.linspace(0, 1, 1000)]])})
    return tmp_path / "tiny"


def code_of(folder: Path) -> str:
    with pytest.raises(BundleFailure) as caught:
        bundles.load(str(folder))
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value.code


def edit(folder: Path, **changes: object) -> None:
    path = folder / bundles.METADATA
    metadata = json.loads(path.read_text())
    metadata["conddiffusion_uad"].update(changes)
    path.write_text(json.dumps(metadata))


def test_what_was_saved_is_loaded(folder: Path) -> None:
    bundle = bundles.load(str(folder))
    torch.manual_seed(0)
    original = CONFIG.build()
    assert bundle.config == CONFIG
    assert bundle.name == "tiny"
    assert bundle.config.contrasts == ("T2",)
    assert not bundle.model.training
    for name, value in original.state_dict().items():
        assert torch.equal(bundle.model.state_dict()[name], value.half().to(value.dtype)), name


def test_missing_bundle_is_named_with_the_shipped_ones() -> None:
    with pytest.raises(BundleFailure) as caught:
        bundles.load("nowhere")
    assert caught.value.code == "bundle_not_found"
    assert all(name in caught.value.hint for name in bundles.available())


def test_altered_weights_are_noticed(folder: Path) -> None:
    weights = bytearray((folder / bundles.WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (folder / bundles.WEIGHTS).write_bytes(weights)
    assert code_of(folder) == "bundle_damaged"


def test_altered_calibration_is_noticed(folder: Path) -> None:
    path = folder / bundles.CALIBRATION
    path.write_text(path.read_text().replace('"scans": 1', '"scans": 2'))
    assert code_of(folder) == "bundle_damaged"


@pytest.mark.parametrize("file", [bundles.WEIGHTS, bundles.CALIBRATION, bundles.METADATA])
def test_truncated_files_are_noticed(folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    assert code_of(folder) == "bundle_damaged"


def test_new_weights_do_not_keep_the_calibration_of_others(folder: Path) -> None:
    bundles.save(folder, CONFIG, CONFIG.build())
    assert bundles.load(str(folder)).calibration == {}


def test_slices_that_the_network_cannot_halve_are_damage(folder: Path) -> None:
    grid = {**CONFIG.grid.to_json(), "size": [16, 15, 8]}
    edit(folder, grid=grid)
    bundles.seal(folder)
    assert code_of(folder) == "bundle_damaged"


def test_newer_format_is_refused(folder: Path) -> None:
    edit(folder, format=FORMAT + 1)
    assert code_of(folder) == "bundle_too_new"


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / bundles.WEIGHTS).rename(folder / "models" / "model.pt")
    assert code_of(folder) == "bundle_pickled"


def test_a_wrong_rule_is_damage(folder: Path) -> None:
    edit(folder, anomaly_map={"T2": {"kind": "residual", "sign": "upwards"}})
    bundles.seal(folder)
    assert code_of(folder) == "bundle_damaged"
