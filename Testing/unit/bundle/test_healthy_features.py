"""The distance of a scan from healthy ones in the encoder's eyes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.healthy_features import DIRECTIONS, HealthyFeatures, slice_features
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.failures import BundleFailure
from conddiffusion_uad.training.calibration import measure_features
from conddiffusion_uad.training.data.corpus import Part, Scan
from conddiffusion_uad.training.recipe import Source

COUNT = 40


def scans(number: int, seed: int, shift: float = 0.0) -> list[np.ndarray]:
    """Features of 30 slices of some scans, with very different variances; shifted along the least variable one."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(3, 0.1, COUNT)
    return [rng.normal(0, spread, (30, COUNT)) + shift * np.eye(COUNT)[-1] for _ in range(number)]


@pytest.fixture(scope="module")
def healthy() -> HealthyFeatures:
    return HealthyFeatures.measure(scans(20, 0), scans(5, 1))


def test_healthy_scans_are_about_one_away(healthy: HealthyFeatures) -> None:
    assert healthy.directions.shape == (DIRECTIONS, COUNT)
    assert [healthy.distance(scan) for scan in scans(5, 2)] == pytest.approx([1] * 5, abs=0.3)
    assert healthy.relative(scans(1, 3)[0]) == pytest.approx(1, abs=0.3)
    assert healthy.scans == 20


def test_a_shift_is_measured_against_the_variance_along_it(healthy: HealthyFeatures) -> None:
    along_the_widest = scans(1, 2)[0] + 2 * np.eye(COUNT)[0]
    assert healthy.distance(scans(1, 2, shift=20.0)[0]) > 20
    assert healthy.distance(along_the_widest) < 1.5


def test_one_strange_slice_does_not_make_a_strange_scan(healthy: HealthyFeatures) -> None:
    scan = scans(1, 2)[0]
    scan[0] += 100
    assert healthy.distance(scan) < 1.5


def test_features_that_never_vary_can_still_be_compared_with() -> None:
    constant = HealthyFeatures.measure([np.ones((9, 4))], [np.ones((3, 4)) + 1e-3])
    assert np.isfinite(constant.distance(np.zeros((3, 4)))) and constant.distance(np.zeros((3, 4))) > 1


def test_what_is_stored_is_read_back(healthy: HealthyFeatures) -> None:
    again = HealthyFeatures.from_json(json.loads(json.dumps(healthy.to_json())))
    scan = scans(1, 4)[0]
    assert again.distance(scan) == healthy.distance(scan)


@pytest.mark.parametrize(
    "change", [{"mean": [1.0]}, {"rest": 0.0}, {"usual": 0.0}, {"usual": float("nan")}, {"variances": [1.0]}]
)
def test_damaged_values_are_noticed(healthy: HealthyFeatures, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        HealthyFeatures.from_json({**healthy.to_json(), **change})


@pytest.mark.parametrize("name", ["mean", "directions", "variances", "rest", "usual"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_damage(healthy: HealthyFeatures, name: str, value: float) -> None:
    stored = healthy.to_json()
    stored[name] = (np.array(stored[name]) * 0 + value).tolist()
    with pytest.raises(ValueError):
        HealthyFeatures.from_json(stored)


def test_too_little_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError):
        HealthyFeatures.measure(scans(2, 0), [])


def test_slices_with_little_brain_do_not_count() -> None:
    def encoder(slices: Slices) -> torch.Tensor:
        return slices.image.flatten(1).mean(1, keepdim=True)

    model: Any = SimpleNamespace(encoder=encoder, features=1, device=torch.device("cpu"))
    volume = np.stack([np.full((20, 20), value, np.float32) for value in (0.1, 0.2, 0.3)])
    mask = np.ones(volume.shape, bool)
    mask[1, 10:] = False
    found = slice_features(volume, mask, (2.1, 2.1, 2.1), model)
    assert found[:, 0] == pytest.approx([0.1, 0.3])
    model.encoder = None  # a scan without such slices needs none
    assert slice_features(volume, mask & False, (2.1, 2.1, 2.1), model).shape == (0, 1)


def test_a_bundle_is_measured_on_what_it_learned_from_and_judged_on_what_it_did_not(small_bundle: Path) -> None:
    bundle = bundles.load(str(small_bundle))
    part = Part(Source("scans", "*", 1.0, 1, contrast="T1"), [scan(0), scan(1)], [scan(2)])
    lines: list[str] = []
    found = measure_features(bundle, [part], 0, lines.append)
    assert set(found) == {"T1"} and len(lines) == 1  # no scan shows T2
    assert found["T1"].scans == 2 and found["T1"].usual > 0
    assert found["T1"].to_json() == measure_features(bundle, [part], 0, lines.append)["T1"].to_json()


def test_a_model_without_encoder_has_no_features() -> None:
    bundle: Any = SimpleNamespace(method=SimpleNamespace(condition=Unconditional()))
    assert measure_features(bundle, [], 0, print) == {}


def scan(seed: int) -> Scan:
    """A noisy box of a brain on the small bundle's grid."""
    volume = np.random.default_rng(seed).uniform(0.2, 1, (48, 56, 48)).astype(np.float16)
    mask = np.zeros(volume.shape, bool)
    mask[16:32, 16:40, 16:32] = True
    return Scan(f"{seed}.nii.gz", "T1", volume * mask, mask, None)


def test_healthy_features_are_part_of_the_bundle(small_bundle: Path, healthy: HealthyFeatures, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for file in (bundles.METADATA, bundles.WEIGHTS, bundles.CALIBRATION):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes((small_bundle / file).read_bytes())
    before = bundles.load(str(folder))
    assert before.gate == {}
    bundles.save_gate(folder, {"T1": healthy})
    after = bundles.load(str(folder))
    assert after.gate["T1"].to_json() == healthy.to_json()
    assert after.sha256 != before.sha256
    text = (folder / bundles.GATE).read_text()
    (folder / bundles.GATE).write_text(text.replace('"scans": 20', '"scans": 21'))
    with pytest.raises(BundleFailure, match="was altered"):
        bundles.load(str(folder))
    bundles.save(folder, after.config, after.trainable)
    assert bundles.load(str(folder)).gate == {}  # they were of other weights


def test_the_shipped_bundle_knows_healthy_features() -> None:
    bundle = bundles.load("residual")
    assert set(bundle.gate) == set(bundle.config.contrasts)
    assert all(1 < healthy.usual < 3 for healthy in bundle.gate.values())
