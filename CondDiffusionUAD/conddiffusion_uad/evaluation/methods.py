"""The methods that are compared in a case: the model, the plain baselines, and maps that other software made."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy.stats import rankdata

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.baselines import baseline_maps
from conddiffusion_uad.evaluation.cases import Case, Examined
from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.run import Scored as BrainScored
from conddiffusion_uad.method.run import score
from conddiffusion_uad.preprocessing.preparation import Prepared
from conddiffusion_uad.protocol.failures import BadInput

UNTRAINED = "untrained model"
BASELINES = (
    "equalized intensity",
    "1 - equalized intensity",
    "robust z-score",
    "blur residual",
    "asymmetry",
    "random",
    UNTRAINED,
)
LARGEST = float(np.finfo(np.float16).max)
"""Of the values of a map: scores are counted in half precision."""

MAPS = "maps"
"""The method that existing maps are, in place of the model."""


@dataclass(frozen=True)
class Scored:
    """What a method says of a case, on the scan's own grid.

    Attributes:
        name: Of the method.
        raw: Its own values, float32 (z, y, x), 0 outside the brain: for curves.
        score: The same on the scale of an anomaly score: for thresholds that need no labels.
    """

    name: str
    raw: np.ndarray
    score: np.ndarray


def model_map(examined: Examined, scored: BrainScored) -> Scored:
    """The anomaly score of a case."""
    brain = scored.brain  # on the grid of the map, which may be finer
    heatmap = replace(examined, prepared=brain if isinstance(brain, Prepared) else None).native(scored.score)
    return Scored(MODEL, heatmap, heatmap)


def rule_of(bundle: Bundle, contrast: str) -> Residual:
    """How the baselines are smoothed: as the bundle's residual, if its map is one."""
    part = bundle.method.anomaly_map[contrast]
    return part if isinstance(part, Residual) else Residual()


def other_maps(examined: Examined, bundle: Bundle, names: Sequence[str], seed: int) -> Iterator[Scored]:
    """The maps of the baselines named, smoothed by the rule of the bundle, ranked in their own brain."""
    contrast = examined.case.contrast
    rule = rule_of(bundle, contrast)
    maps = baseline_maps(examined.volume, examined.mask, rule, examined.grid, seed)
    for name in names:
        if name == UNTRAINED:
            values = score(untrained(bundle), examined.brain, contrast, seed=seed).anomaly_map
        else:
            values = maps[name]
        own = examined.native(values)
        yield Scored(name, own, rank_score(own, examined.native_mask))


def untrained(bundle: Bundle) -> Bundle:
    """The bundle with networks that have learned nothing, on the same device, in their plain form."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = bundle.config.build().eval()
    return replace(bundle, model=copy.deepcopy(model).to(bundle.model.device), trainable=model)


def rank_score(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``-log10`` of the share of this brain with a value as large, so that 2 is where its top 1 % begins.

    Returns:
        float32, same shape, 0 outside the mask.
    """
    scores = np.zeros(values.shape, np.float32)
    if mask.any():
        scores[mask] = -np.log10(rankdata(-values[mask], method="max") / mask.sum())
    return scores


def existing_map(folder: Path, examined: Examined, threshold: float | None) -> Scored:
    """The map that other software made of a case, resampled (linear) to the scan's grid.

    Args:
        folder: Holds it under one of the names in :func:`map_files`.
        examined: The case.
        threshold: The value of the map from which on a voxel is flagged; it becomes score 2 (1 % of healthy tissue).
            None ranks the values in their own brain instead.

    Raises:
        BadInput: ``map_missing`` or ``map_unreadable``.
    """
    case = examined.case
    file = next((f for f in map_files(folder, case) if f.is_file()), None)
    if file is None or examined.prepared is None:
        tried = ", ".join(str(f.relative_to(folder)) for f in map_files(folder, case))
        raise BadInput("map_missing", f"There is no map of {case.id}.", f"Expected in the folder of maps: {tried}.")
    reference = examined.prepared.reference.blank()
    values = sitk.GetArrayFromImage(sitk.Resample(_read_map(file), reference, sitk.Transform(), sitk.sitkLinear))
    raw = np.where(examined.native_mask, values, 0).astype(np.float32)
    score = rank_score(raw, examined.native_mask) if threshold is None else 2 * raw / np.float32(threshold)
    return Scored(MAPS, raw, score)


def _read_map(file: Path) -> sitk.Image:
    """Unlike a scan, a map may be constant or hold few values."""
    try:
        image = sitk.ReadImage(str(file), sitk.sitkFloat32)
    except RuntimeError as error:
        raise BadInput("map_unreadable", f"{file} cannot be read as an image.", "Write it as NIfTI.") from error
    if image.GetDimension() != 3 or not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise BadInput("map_unreadable", f"{file} is no 3-D map of finite numbers.", "Replace what is not a number.")
    if np.abs(sitk.GetArrayViewFromImage(image)).max() > LARGEST:
        raise BadInput("map_unreadable", f"{file} holds values beyond {LARGEST:.0f}.", "Scale all maps alike.")
    return image


def map_files(folder: Path, case: Case) -> list[Path]:
    """Where the map of a case may be: named by the case's id, by patient and contrast, or by the patient alone; or in a
    folder of that name, as ``detect`` writes it.
    """
    names = (case.id, f"{case.patient}_{case.contrast}", f"{case.patient}_{case.contrast.lower()}", case.patient)
    return [folder / place for name in names for place in (f"{name}.nii.gz", f"{name}/heatmap.nii.gz")]
