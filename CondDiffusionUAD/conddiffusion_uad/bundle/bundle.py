"""A trained model as a folder in MONAI Bundle layout, without pickles.

```
<name>/configs/metadata.json       what it is, and under "conddiffusion_uad" how it is run
       configs/calibration.json    residuals of healthy scans, by contrast
       configs/gate.json           features of healthy scans, by contrast
       configs/expected_findings.json  findings in healthy scans by threshold and contrast
       configs/recipe.toml         how it was trained
       configs/inference.json      how MONAI runs it
       models/model.safetensors    weights of encoder and denoiser, half precision
       models/<name>.safetensors   weights of further networks that parts of the method have
       docs/README.md  LICENSE     model card and license
```
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from conddiffusion_uad.bundle import weights
from conddiffusion_uad.bundle.config import FORMAT, BundleConfig
from conddiffusion_uad.bundle.healthy_features import HealthyFeatures
from conddiffusion_uad.bundle.monai_bundle import INFERENCE, inference_config
from conddiffusion_uad.bundle.weights import WEIGHTS
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.method.calibration import Calibration
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.model import precision as precisions
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.fast.inference import accelerated
from conddiffusion_uad.protocol.bundle_folders import imported_bundles, present_name
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.explanation import first_line, is_out_of_memory
from conddiffusion_uad.protocol.failures import BundleFailure, shown
from conddiffusion_uad.protocol.job import USUAL_BUNDLE

METADATA = "configs/metadata.json"
CALIBRATION = "configs/calibration.json"
GATE = "configs/gate.json"
EXPECTED = "configs/expected_findings.json"
RECIPE = "configs/recipe.toml"
CARD = "docs/README.md"
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
_DAMAGE = (OSError, LookupError, TypeError, ValueError, RecursionError)  # what wrong contents of a file lead to
_REINSTALL = "Install the bundle again."
_TRAIN_AGAIN = "Train again, with a lower learning rate if the loss was not a number."


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        name: Name of its folder.
        path: Its folder.
        sha256: Hash of the weights and of the files in ``configs`` that decide the result.
        config: How it is run.
        calibration: By contrast; empty before ``train calibrate``.
        model: The networks that compute, in evaluation mode.
        trainable: The same as they were loaded: in the plain form, with gradients, on the CPU. Copy before changing.
        metadata: All of its metadata.json.
        gate: Features of healthy scans by contrast, for the input gate; empty when it does not know them.
        expected: Findings in healthy scans by contrast; empty when it promises nothing of them.
        as_calibrated: Whether its maps are those that it was calibrated with, so that what it promises holds.
    """

    name: str
    path: Path
    sha256: str
    config: BundleConfig
    calibration: Mapping[str, Calibration]
    model: ConditionedDiffusion
    trainable: ConditionedDiffusion
    metadata: Mapping[str, Any]
    gate: Mapping[str, HealthyFeatures] = field(default_factory=dict)
    expected: Mapping[str, ExpectedFindings] = field(default_factory=dict)
    as_calibrated: bool = True

    @property
    def method(self) -> Method:
        """The parts of its method."""
        return self.config.method

    @property
    def precision(self) -> str:
        """Number format that the network computes in: "fp32" or "bf16"."""
        return precisions.name_of(self._dtype)

    def to(self, device: torch.device | str, precision: str = "auto") -> Bundle:
        """The bundle with its model on a device, in the form in which it reconstructs fastest there.

        This bundle stays as it is.

        Args:
            precision: "auto", "fp32" or "bf16": see :func:`precision.choose`.

        Raises:
            BadInput: ``bad_option`` for another precision.
        """
        dtype = precisions.choose(precision, torch.device(device))
        return replace(self, model=accelerated(self.trainable, dtype).to(device))

    def adaptable(self) -> ConditionedDiffusion:
        """A copy of the networks in their plain form, on the device that computes, that may be changed."""
        return copy.deepcopy(self.trainable).to(self.model.device)

    def accelerated(self, model: ConditionedDiffusion) -> ConditionedDiffusion:
        """Networks in their plain form as a copy in the form that this bundle computes in."""
        return model if self.model is self.trainable else accelerated(model, self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(self.model.denoiser, "dtype", torch.float32)


def shipped() -> list[str]:
    """Names of the bundles that came with this installation."""
    return _names(resources() / "Models")


def available() -> list[str]:
    """Names of the installed bundles: the shipped ones, then those that were imported."""
    imported = imported_bundles()
    return [*shipped(), *(_names(imported) if imported else [])]


def _names(models: Path) -> list[str]:
    found = (path.parents[1].name for path in models.glob(f"*/{METADATA}"))
    return sorted(name for name in found if not name.startswith("."))


def locate(name_or_path: str) -> Path:
    """The folder of a shipped or imported bundle, by its present or its former name, or of the one at a path.

    Raises:
        BundleFailure: ``bundle_not_found``.
    """
    homes = (resources() / "Models", imported_bundles(), Path())
    for folder in (home / present_name(name_or_path) for home in homes if home is not None):
        if os.path.isfile(folder / METADATA):  # unlike Path.is_file, also of a name that is too long
            return folder
    names = ", ".join(available()) or "none"
    raise BundleFailure(
        "bundle_not_found",
        f"There is no bundle {shown(name_or_path)}.",
        f"Name an installed bundle ({names}) or the folder of one.",
    )


def digest(folder: Path) -> str:
    """SHA-256 over the weights, the calibration, the healthy features and how the bundle is run.

    Raises:
        BundleFailure: ``bundle_damaged``.
    """
    try:
        total = hashlib.sha256(json.dumps(_read_json(folder / METADATA)["conddiffusion_uad"], sort_keys=True).encode())
        model, *others = weights.files(folder)
        for file in (folder / CALIBRATION, model, folder / GATE, *others, folder / EXPECTED):
            if file.is_file():
                total.update(file.read_bytes())
    except _DAMAGE as error:
        raise _damaged(folder, error) from error
    return total.hexdigest()


def load(name_or_path: str = USUAL_BUNDLE) -> Bundle:
    """Load a bundle, the usual one if none is named, onto the CPU and check that it is whole.

    Raises:
        BundleFailure: ``bundle_not_found``, ``bundle_pickled``, ``bundle_too_new`` or ``bundle_damaged``.
    """
    folder = locate(name_or_path)
    try:
        metadata = _read_json(folder / METADATA)
        section = metadata["conddiffusion_uad"]
        if section["format"] > FORMAT:
            raise BundleFailure(
                "bundle_too_new", f"The bundle {folder.name} was made by a newer version.", "Update CondDiffusionUAD."
            )
        if not (folder / WEIGHTS).is_file() and any(f.suffix in PICKLES for f in folder.rglob("*")):
            raise pickled(folder.name)
        if (stated := metadata.get("sha256")) not in (None, found := digest(folder)):
            raise BundleFailure(
                "bundle_damaged",
                f"The bundle {folder.name} was altered: its hash is {found[:12]}, not {stated[:12]}.",
                _REINSTALL,
            )
        config = BundleConfig.from_json(section)
        calibration, model = _entries(folder / CALIBRATION, Calibration), weights.load(folder, config)
        healthy = _entries(folder / GATE, HealthyFeatures), _entries(folder / EXPECTED, ExpectedFindings)
        return Bundle(folder.name, folder, found, config, calibration, model, model, metadata, *healthy)
    except (*_DAMAGE, AttributeError, ArithmeticError, AssertionError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        raise _damaged(folder, error) from error


def save(
    folder: Path, config: BundleConfig, model: ConditionedDiffusion, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write configuration and weights of a bundle; its calibration and card come later, then :func:`seal` it.

    Args:
        model: The trained network in its plain form; its weights are stored in half precision where that can hold
            them, else in single precision.

    Raises:
        BundleFailure: ``weights_unusable`` when the weights are not numbers, and nothing is written then; or when they
            are not those of the networks that the configuration describes.
    """
    try:
        weights.save(folder, model)
        weights.load(folder, config)
    except (ValueError, RuntimeError) as error:
        raise BundleFailure(
            "weights_unusable", f"The bundle {folder.name} cannot be saved: {first_line(error)}.", _TRAIN_AGAIN
        ) from error
    for file in (CALIBRATION, GATE, EXPECTED):
        (folder / file).unlink(missing_ok=True)  # of other weights
    (folder / METADATA).parent.mkdir(parents=True, exist_ok=True)
    _write_json(folder / METADATA, {**(metadata or {}), "conddiffusion_uad": config.to_json()})
    write_inference(folder)


def write_inference(folder: Path) -> None:
    """Write what MONAI runs of a bundle; it is the same in every bundle."""
    _write_json(folder / INFERENCE, inference_config())


def save_calibration(
    folder: Path, calibration: Mapping[str, Calibration], measured_with: Mapping[str, str] | None = None
) -> None:
    """Store the calibration of a bundle and seal it.

    Args:
        calibration: By contrast.
        measured_with: Device and number format that it holds for, for the metadata.
    """
    if measured_with is not None:
        _write_json(folder / METADATA, {**_read_json(folder / METADATA), "calibrated_with": dict(measured_with)})
    _store(folder, CALIBRATION, calibration, indent=2)


def save_gate(folder: Path, gate: Mapping[str, HealthyFeatures]) -> None:
    """Store the healthy features of a bundle and seal it."""
    _store(folder, GATE, gate)


def save_expected(folder: Path, expected: Mapping[str, ExpectedFindings]) -> None:
    """Store how many findings healthy scans have and seal the bundle."""
    _store(folder, EXPECTED, expected)


def seal(folder: Path) -> None:
    """Store the hash of the bundle in its metadata, so that later changes are noticed."""
    _write_json(folder / METADATA, {**_read_json(folder / METADATA), "sha256": digest(folder)})


def _entries(file: Path, kind: Any) -> dict[str, Any]:
    """What a file holds for each contrast; empty when there is no file."""
    return {name: kind.from_json(entry) for name, entry in _read_json(file).items()} if file.is_file() else {}


def _store(folder: Path, file: str, entries: Mapping[str, Any], indent: int | None = None) -> None:
    _write_json(folder / file, {name: entry.to_json() for name, entry in entries.items()}, indent)
    seal(folder)


def pickled(name: str) -> BundleFailure:
    """The failure for weights that a program could hide in."""
    return BundleFailure(
        "bundle_pickled", f"{name} has pickled weights.", "Only safetensors are accepted: a pickle can run any program."
    )


def _damaged(folder: Path, error: Exception) -> BundleFailure:
    return BundleFailure("bundle_damaged", f"The bundle {folder.name} is damaged: {first_line(error)}.", _REINSTALL)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, values: Any, indent: int | None = 2) -> None:
    path.write_text(json.dumps(values, indent=indent, allow_nan=False) + "\n", encoding="utf-8", newline="\n")
