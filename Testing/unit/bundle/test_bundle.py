from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_config
from torch import nn

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.config import FORMAT, BundleConfig
from conddiffusion_uad.bundle.limits import require_no_larger
from conddiffusion_uad.bundle.monai_bundle import inference_config
from conddiffusion_uad.bundle.weights import WEIGHTS
from conddiffusion_uad.method.calibration import Calibration
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.model.fast.inference import accelerated
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
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


def test_what_a_bundle_promises_is_loaded_and_guarded(folder: Path) -> None:
    assert bundles.load(str(folder)).expected == {}
    promise = {"T2": ExpectedFindings((1.0, 2.0), (3.0, 0.5), 7, 0.05, (0.0, 2.5))}
    before = bundles.digest(folder)
    bundles.save_expected(folder, promise)
    assert bundles.load(str(folder)).expected == promise and bundles.digest(folder) != before
    path = folder / bundles.EXPECTED
    path.write_text(path.read_text().replace("0.5", "0.1"))
    assert code_of(folder) == "bundle_damaged"
    bundles.seal(folder)
    path.write_text(path.read_text().replace("[1.0, 2.0]", "[2.0, 1.0]"))
    bundles.seal(folder)
    assert code_of(folder) == "bundle_damaged"


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


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"levels": [250]}, "levels"),
        ({"noise": {"kind": "simplex", "octave": 2}}, "octave"),
        ({"denoiser": {"base": 4, "wide": 1}}, "wide"),
    ],
)
def test_an_unknown_key_is_refused_by_its_name(folder: Path, changes: dict, key: str) -> None:
    edit(folder, **changes)
    bundles.seal(folder)
    with pytest.raises(BundleFailure, match=f"unknown key '{key}'"):
        bundles.load(str(folder))


@pytest.mark.parametrize(
    "denoiser",
    [
        {"base": 4096},
        {"base": 4.0},
        {"multipliers": 2},
        {"multipliers": [1] * 9},
        {"blocks": 65},
        {"groups": [2]},
        {"patch": 0},
        {"patch": True},
    ],
)
def test_a_denoiser_larger_than_any_is_refused_before_it_is_made(folder: Path, denoiser: dict) -> None:
    edit(folder, denoiser={**CONFIG.denoiser, **denoiser})
    bundles.seal(folder)
    with pytest.raises(BundleFailure, match=f"denoiser: {next(iter(denoiser))} cannot be"):
        bundles.load(str(folder))


def test_a_network_that_does_not_fit_into_its_file_is_never_made(folder: Path) -> None:
    edit(folder, denoiser={**CONFIG.denoiser, "base": 2048, "multipliers": [2048, 2048]})  # 10^15 weights
    bundles.seal(folder)
    with pytest.raises(BundleFailure, match="larger than its weights"):
        bundles.load(str(folder))


def test_counting_the_weights_of_a_network_does_not_count_those_of_other_threads(folder: Path) -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        beside = threading.Thread(target=lambda: made.append(nn.Linear(2000, 2000)))
        beside.start()
        beside.join()
        return nn.Linear(2, 2)

    require_no_larger(build, folder / WEIGHTS)
    assert len(made) == 1 and made[0].weight.device.type == "cpu"


def test_weights_too_large_for_half_precision_are_kept(tmp_path: Path) -> None:
    model = CONFIG.build()
    model.encoder.bn1.running_var.fill_(1e5)
    bundles.save(tmp_path, CONFIG, model)
    loaded = bundles.load(str(tmp_path)).model
    assert torch.equal(loaded.encoder.bn1.running_var, model.encoder.bn1.running_var)


def test_weights_that_are_not_numbers_are_refused_before_anything_is_written(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    model = CONFIG.build()
    model.denoiser.stem.bias.data[0] = torch.nan
    with pytest.raises(BundleFailure, match="not numbers") as caught:
        bundles.save(folder, CONFIG, model)
    assert caught.value.code == "weights_unusable"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_weights_of_another_network_are_not_saved_unnoticed(tmp_path: Path) -> None:
    other = tiny_config(condition=Encoder(8, "basic", (1, 1, 1, 1), (4, 4, 4, 4)))
    with pytest.raises(BundleFailure, match="cannot be saved"):
        bundles.save(tmp_path, CONFIG, other.build())
    with pytest.raises(BundleFailure, match="cannot be saved"):
        bundles.save(tmp_path, CONFIG, accelerated(CONFIG.build(), torch.float32))


def test_each_move_takes_the_precision_that_is_asked_for(folder: Path) -> None:
    bundle = bundles.load(str(folder))
    first = bundle.to("cpu", "fp32")
    second = first.to("cpu", "bf16")
    assert (bundle.precision, first.precision, second.precision) == ("fp32", "fp32", "bf16")


def test_moving_a_bundle_leaves_it_where_it_is_and_its_trainable_form_alone(folder: Path) -> None:
    bundle = bundles.load(str(folder))
    there = bundle.to("meta", "fp32")  # stands in for a card
    assert there.model.device.type == "meta" and bundle.model.device.type == "cpu"
    moved = there.to("cpu", "fp32")
    assert moved.model.device.type == "cpu" and there.model.device.type == "meta"
    assert moved.trainable is bundle.trainable
    assert all(parameter.requires_grad for parameter in moved.trainable.parameters())
    slices = Slices.of(torch.rand(2, 1, 16, 16))
    given = slices, torch.tensor([250, 500]), torch.randn(2, 1, 16, 16)
    assert torch.allclose(moved.model(*given), bundle.trainable(*given), atol=1e-5)


def test_an_adaptation_works_on_a_copy_that_learns(folder: Path) -> None:
    bundle = bundles.load(str(folder)).to("cpu", "bf16")
    before = {name: value.clone() for name, value in bundle.trainable.state_dict().items()}
    model = bundle.adaptable()
    slices = Slices.of(torch.rand(2, 1, 16, 16))
    model(slices, torch.tensor([250, 500]), torch.randn(2, 1, 16, 16)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert bundle.accelerated(model).denoiser.dtype == torch.bfloat16
    assert all(torch.equal(value, before[name]) for name, value in bundle.trainable.state_dict().items())


def format_1(condition: int = 4) -> dict:
    """`CONFIG` as the first version would have written it."""
    return {
        "format": 1,
        "grid": CONFIG.grid.to_json(),
        "model": {
            "condition": condition,
            "encoder": {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 4, 4]},
            "denoiser": CONFIG.denoiser,
            "noise": {"octaves": 2, "wavelength": 8.0},
        },
        "levels": [250, 500],
        "residual": {"T2": {"sign": "positive"}},
    }


def test_the_first_format_is_still_read() -> None:
    assert BundleConfig.from_json(format_1()) == CONFIG
    assert BundleConfig.from_json(format_1(0)) == tiny_config(condition=Unconditional())
    signs = {"T1": {"sign": "negative"}, "T2": {"sign": "absolute"}, "FLAIR": {}}
    found = BundleConfig.from_json({**format_1(), "residual": signs}).method.anomaly_map
    assert [part.sign for part in found.values()] == ["hypointense", "absolute", "absolute"]


def test_a_bundle_of_the_first_format_has_the_hash_that_it_states(folder: Path) -> None:
    path = folder / bundles.METADATA
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "conddiffusion_uad": format_1()}))
    bundles.seal(folder)
    assert bundles.load(str(folder)).config == CONFIG
    assert json.loads(path.read_text())["conddiffusion_uad"]["format"] == 1


@pytest.mark.parametrize(
    ("place", "told"),
    [((), "key 'sampler'"), (("model",), "key 'sampler'"), (("model", "noise"), "key 'sampler'")],
)
def test_unknown_keys_of_the_first_format_are_refused_too(place: tuple[str, ...], told: str) -> None:
    values = format_1()
    inner = values
    for name in place:
        inner = inner[name]
    inner["sampler"] = 1
    with pytest.raises(ValueError, match=told):
        BundleConfig.from_json(values)


@pytest.mark.parametrize("write", [format_1, CONFIG.to_json])
def test_a_recipe_holds_a_configuration_beside_much_else(write: Callable[[], dict]) -> None:
    values = write()
    del values["format"]
    assert BundleConfig.from_recipe({**values, "name": "x", "fit": {"batch": 1}}) == CONFIG


@pytest.mark.parametrize("name", bundles.shipped())
def test_a_shipped_bundle_is_of_the_newest_format_and_its_files_are_whole(name: str) -> None:
    folder = bundles.locate(name)
    section = json.loads((folder / bundles.METADATA).read_text())["conddiffusion_uad"]
    assert section["format"] == FORMAT
    loaded = bundles.load(name)
    assert loaded.config.to_json() == section and set(loaded.calibration) == set(loaded.config.contrasts)
    assert loaded.metadata["sha256"] == loaded.sha256 and (folder / bundles.CARD).is_file()
    assert json.loads((folder / bundles.INFERENCE).read_text()) == inference_config()
