"""A trained model as a folder in MONAI Bundle layout, without pickles.

```
<name>/configs/metadata.json       what it is, and under "conddiffusion_uad" how it is run
       configs/calibration.json    residuals of healthy scans, by contrast
       configs/gate.json           features of healthy scans, by contrast
       configs/recipe.toml         how it was trained
       models/model.safetensors    weights, half precision
       docs/README.md  LICENSE     model card and licence
```
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from conddiffusion_uad.bundle import limits as bundle_limits
from conddiffusion_uad.bundle.calibration import Calibration
from conddiffusion_uad.bundle.healthy_features import HealthyFeatures
from conddiffusion_uad.io.geometry import MAX_EXTENT_MM
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.residual import ResidualRule
from conddiffusion_uad.model import precision as precisions
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.fast.inference import accelerated
from conddiffusion_uad.preprocessing.resampling import STEP
from conddiffusion_uad.protocol.bundle_folders import imported_bundles
from conddiffusion_uad.protocol.explanation import first_line, is_out_of_memory
from conddiffusion_uad.protocol.failures import BundleFailure, shown
from conddiffusion_uad.protocol.job import CONTRASTS, are_levels

MOST_SLICES = 1024  # of the grid, along each axis
FORMAT = 1  # of the section "conddiffusion_uad"; raised when older programs could misread a bundle
METADATA = "configs/metadata.json"
CALIBRATION = "configs/calibration.json"
GATE = "configs/gate.json"
RECIPE = "configs/recipe.toml"
WEIGHTS = "models/model.safetensors"
CARD = "docs/README.md"
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
_DAMAGE = (OSError, LookupError, TypeError, ValueError, RecursionError)  # what wrong contents of a file lead to
_REINSTALL = "Install the bundle again."


@dataclass(frozen=True)
class BundleConfig:
    """How a bundle is run.

    Attributes:
        grid: The grid in atlas space that scans are brought to; its z axis counts the slices.
        model: Configuration of :class:`ConditionedDiffusion`.
        levels: Noise levels that the reconstruction is averaged over.
        residual: How the residual is formed, by contrast; its keys are the contrasts that the bundle is made for.
    """

    grid: Grid
    model: Mapping[str, Any]
    levels: tuple[int, ...]
    residual: Mapping[str, ResidualRule]

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that the bundle is made for."""
        return tuple(self.residual)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "grid": self.grid.to_json(),
            "model": self.model,
            "levels": list(self.levels),
            "residual": {contrast: asdict(rule) for contrast, rule in self.residual.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BundleConfig:
        """Raises KeyError, TypeError or ValueError when something is missing or wrong."""
        grid, levels = Grid.from_json(values["grid"]), tuple(values["levels"])
        far = max(map(abs, grid.origin)) > MAX_EXTENT_MM
        if far or max(grid.size) > MOST_SLICES or max(grid.spacing) > MAX_EXTENT_MM or not are_levels(levels):
            raise ValueError("its grid or its noise levels are impossible")
        residual = {contrast: ResidualRule(**rule) for contrast, rule in values["residual"].items()}
        if not residual or not set(residual) <= set(CONTRASTS):
            raise ValueError(f"its contrasts are not among {', '.join(CONTRASTS)}")
        return cls(grid=grid, model=values["model"], levels=levels, residual=residual)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        name: Name of its folder.
        path: Its folder.
        sha256: Hash of the weights and of the files in ``configs`` that decide the result.
        config: How it is run.
        calibration: By contrast; empty before ``train calibrate``.
        model: The network in evaluation mode.
        metadata: All of its metadata.json.
        gate: Features of healthy scans by contrast, for the input gate; empty when it does not know them.
    """

    name: str
    path: Path
    sha256: str
    config: BundleConfig
    calibration: Mapping[str, Calibration]
    model: ConditionedDiffusion
    metadata: Mapping[str, Any]
    gate: Mapping[str, HealthyFeatures] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """Number format that the network computes in: "fp32" or "bf16"."""
        return precisions.name_of(getattr(self.model.denoiser, "dtype", torch.float32))

    def to(self, device: torch.device | str, precision: str = "auto") -> Bundle:
        """The bundle with its model on a device, in the form in which it reconstructs fastest there.

        Args:
            device: That will compute.
            precision: "auto", "fp32" or "bf16": see :func:`precision.choose`.

        Raises:
            BadInput: ``bad_option`` for another precision.
        """
        dtype = precisions.choose(precision, torch.device(device))
        return replace(self, model=accelerated(self.model.to(device), dtype))


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
    """The folder of a shipped or imported bundle, or of the one at a path.

    Raises:
        BundleFailure: ``bundle_not_found``.
    """
    homes = (resources() / "Models", imported_bundles(), Path())
    for folder in (home / name_or_path for home in homes if home is not None):
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
        total = hashlib.sha256(json.dumps(_section(folder), sort_keys=True).encode())
        for file in (CALIBRATION, WEIGHTS, GATE):
            if (folder / file).is_file():
                total.update((folder / file).read_bytes())
    except _DAMAGE as error:
        raise _damaged(folder, error) from error
    return total.hexdigest()


def load(name_or_path: str) -> Bundle:
    """Load a bundle onto the CPU and check that it is whole.

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
        calibration, model = _load_calibration(folder), _load_model(folder, config)
        return Bundle(folder.name, folder, found, config, calibration, model, metadata, _load_gate(folder))
    except (*_DAMAGE, AttributeError, ArithmeticError, AssertionError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        raise _damaged(folder, error) from error


def save(
    folder: Path, config: BundleConfig, model: ConditionedDiffusion, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write configuration and weights of a bundle; its calibration and card come later, then :func:`seal` it.

    Args:
        folder: The bundle's folder, made if needed.
        config: How it is run.
        model: The trained network; its weights are stored in half precision.
        metadata: Further fields of MONAI's metadata.json.
    """
    for file in (METADATA, WEIGHTS):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
    for file in (CALIBRATION, GATE):
        (folder / file).unlink(missing_ok=True)  # of other weights
    half = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    save_file({key: value.contiguous().cpu() for key, value in half.items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors lets nobody else read what it writes
    _write_json(folder / METADATA, {**(metadata or {}), "conddiffusion_uad": config.to_json()})


def save_calibration(folder: Path, calibration: Mapping[str, Calibration]) -> None:
    """Store the calibration of a bundle and seal it."""
    _write_json(folder / CALIBRATION, {contrast: entry.to_json() for contrast, entry in calibration.items()})
    seal(folder)


def save_gate(folder: Path, gate: Mapping[str, HealthyFeatures]) -> None:
    """Store the healthy features of a bundle and seal it."""
    _write_json(folder / GATE, {contrast: entry.to_json() for contrast, entry in gate.items()}, indent=None)
    seal(folder)


def seal(folder: Path) -> None:
    """Store the hash of the bundle in its metadata, so that later changes are noticed."""
    _write_json(folder / METADATA, {**_read_json(folder / METADATA), "sha256": digest(folder)})


def _section(folder: Path) -> Any:
    return _read_json(folder / METADATA)["conddiffusion_uad"]


def _load_calibration(folder: Path) -> dict[str, Calibration]:
    if not (folder / CALIBRATION).is_file():
        return {}
    return {contrast: Calibration.from_json(entry) for contrast, entry in _read_json(folder / CALIBRATION).items()}


def _load_gate(folder: Path) -> dict[str, HealthyFeatures]:
    if not (folder / GATE).is_file():
        return {}
    return {contrast: HealthyFeatures.from_json(entry) for contrast, entry in _read_json(folder / GATE).items()}


def pickled(name: str) -> BundleFailure:
    """The failure for weights that a program could hide in."""
    return BundleFailure(
        "bundle_pickled", f"{name} has pickled weights.", "Only safetensors are accepted: a pickle can run any program."
    )


def _damaged(folder: Path, error: Exception) -> BundleFailure:
    return BundleFailure("bundle_damaged", f"The bundle {folder.name} is damaged: {first_line(error)}.", _REINSTALL)


def _load_model(folder: Path, config: BundleConfig) -> ConditionedDiffusion:
    bundle_limits.require_moderate(config.model)
    bundle_limits.require_noise(config.model["noise"])
    with bundle_limits.no_larger_than(folder / WEIGHTS):
        model = ConditionedDiffusion(config.model)
    if STEP % model.divisor or any(size % model.divisor for size in config.grid.size[:2]):
        raise ValueError(f"its slices cannot be divided by {model.divisor}")
    weights = load_file(folder / WEIGHTS)
    bundle_limits.require_finite(weights)
    model.load_state_dict(weights)
    return model.eval()


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, values: Any, indent: int | None = 2) -> None:
    path.write_text(json.dumps(values, indent=indent) + "\n", encoding="utf-8", newline="\n")
