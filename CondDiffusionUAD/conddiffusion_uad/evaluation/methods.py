"""The methods that are compared in a scan: the model, plain baselines, and maps that other software made."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from scipy.stats import rankdata

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.data.cases import Case, Examined
from conddiffusion_uad.evaluation.metrics.score_counts import LARGEST
from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.settings import Settings
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.context.mirror import middle, mirrored
from conddiffusion_uad.method.intensity import rank_normalized
from conddiffusion_uad.method.measures.latent_dissimilarity import LatentDissimilarity
from conddiffusion_uad.method.run import Scored as BrainScored
from conddiffusion_uad.method.run import score
from conddiffusion_uad.preprocessing.background import MAD_TO_SIGMA
from conddiffusion_uad.protocol.failures import BadInput

BLUR_VOXELS = 4.0  # standard deviation of the blur residual's Gaussian
UNTRAINED = "untrained model"
MAPS = "maps"
"""The method that existing maps are, in place of the model."""


@dataclass(frozen=True)
class Scored:
    """What a method says of a scan, on the scan's own grid.

    Attributes:
        name: Of the method.
        raw: Its own values, float32 (z, y, x), 0 outside the brain: for curves.
        score: The same on the scale of an anomaly score: for thresholds that need no labels.
        threshold: The smallest score of a finding.
    """

    name: str
    raw: np.ndarray
    score: np.ndarray
    threshold: float


def run_model(examined: Examined, bundle: Bundle, seed: int) -> BrainScored:
    """Reconstruct and score a scan: all that the evaluation asks of a network.

    Slices are compared with their reconstructions in the eyes of the encoder, where there is one.
    """
    method = bundle.method
    if method.condition.features and not any(isinstance(part, LatentDissimilarity) for part in method.measures):
        method = replace(method, measures=(*method.measures, LatentDissimilarity()))
        bundle = replace(bundle, config=replace(bundle.config, method=method))
    return score(bundle, examined.prepared, examined.case.contrast, seed=seed)


def native(examined: Examined, scored: BrainScored, values: np.ndarray) -> np.ndarray:
    """Bring values from the grid of a bundle's map, which may be finer than the model's, to the scan's own grid."""
    return replace(examined, prepared=scored.brain).native(values)


def model_map(examined: Examined, scored: BrainScored, threshold: float) -> Scored:
    """The anomaly score of the bundle, which counts both as the raw map and as the score."""
    heatmap = native(examined, scored, scored.score)
    return Scored(MODEL, heatmap, heatmap, threshold)


def baseline_maps(examined: Examined, bundle: Bundle, settings: Settings) -> Iterator[Scored]:
    """The maps of the baselines asked for, smoothed as the bundle smooths its own, ranked in their own brain."""
    for name in settings.baselines:
        own = BASELINES[name](examined, bundle, settings.seed)
        yield Scored(name, own, rank_score(own, examined.native_mask), settings.rule.threshold)


def blur_residual(volume: np.ndarray, mask: np.ndarray, sigma: float = BLUR_VOXELS) -> np.ndarray:
    """``|x - G x|`` with the Gaussian normalized inside the brain: what a useless autoencoder would give; 0 outside."""
    weight = np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), sigma), 1e-6)
    blurred = ndimage.gaussian_filter(volume * mask, sigma) / weight
    return np.where(mask, np.abs(volume - blurred), 0).astype(np.float32)


def robust_z(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``|x - median| / (1.4826 MAD)`` of the brain's intensities; 0 outside and in a brain of one intensity."""
    if not mask.any():
        return np.zeros(volume.shape, np.float32)
    median = np.median(volume[mask])
    deviation = MAD_TO_SIGMA * np.median(np.abs(volume[mask] - median))
    z = np.abs(volume - median) / deviation if deviation > 0 else np.zeros(volume.shape)
    return np.where(mask, z, 0).astype(np.float32)


def asymmetry(volume: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """``|x - x mirrored|`` at the mid-sagittal plane; 0 outside the brain and where the mirrored place is outside.

    Args:
        volume: Axes (z, y, x), x from right to left.
        mask: Brain, boolean, same shape.
        grid: Where the voxels lie in the atlas, whose plane x = 0 is the mirror.
    """
    other, there = (mirrored(values, middle(mask, grid)) for values in (volume * mask, mask))
    both = mask & (there > 0.5)
    return np.where(both, np.abs(volume - other / np.maximum(there, 0.5)), 0).astype(np.float32)


def untrained(bundle: Bundle) -> Bundle:
    """The bundle with networks that have learned nothing, on the same device, in their plain form."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = bundle.config.build().eval()
    return replace(bundle, model=copy.deepcopy(model).to(bundle.model.device), trainable=model)


def smoothing_of(bundle: Bundle, contrast: str) -> Residual:
    """How baselines are smoothed: as the bundle smooths its residual, if that is its map."""
    part = bundle.method.anomaly_map[contrast]
    return part if isinstance(part, Residual) else Residual()


def _smoothed(make: Callable[[Examined, int], np.ndarray]) -> Callable[[Examined, Bundle, int], np.ndarray]:
    """A baseline on the model's grid, smoothed as the bundle smooths."""

    def smoothed(examined: Examined, bundle: Bundle, seed: int) -> np.ndarray:
        rule = smoothing_of(bundle, examined.case.contrast)
        return examined.native(rule.smoothed(make(examined, seed), examined.mask))

    return smoothed


def _untrained_map(examined: Examined, bundle: Bundle, seed: int) -> np.ndarray:
    scored = run_model(examined, untrained(bundle), seed)
    return native(examined, scored, scored.anomaly_map)


BASELINES: Mapping[str, Callable[[Examined, Bundle, int], np.ndarray]] = {
    "rank-normalized intensity": _smoothed(lambda e, _: rank_normalized(e.volume, e.mask)),
    "1 - rank-normalized intensity": _smoothed(lambda e, _: e.mask - rank_normalized(e.volume, e.mask)),
    "robust z-score": _smoothed(lambda e, _: robust_z(e.volume, e.mask)),
    "blur residual": _smoothed(lambda e, _: blur_residual(e.volume, e.mask)),
    "asymmetry": _smoothed(lambda e, _: asymmetry(e.volume, e.mask, e.prepared.grid)),
    "random": _smoothed(lambda e, seed: np.random.default_rng(seed).random(e.volume.shape, np.float32)),
    UNTRAINED: _untrained_map,
}
"""What has to be beaten: (scan, bundle, seed) -> map on the scan's own grid, float32 (z, y, x), 0 outside the brain.

What is brightest is suspect (Meissen et al. 2021), or what is darkest, or what is unusual in this brain, or what
differs from its surroundings or from the other side; what chance says; and what an untrained network says.
"""


def rank_score(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``-log10`` of the share of this brain with a value as large, so that 2 is where its top 1 % begins.

    Returns:
        float32, same shape, 0 outside the mask.
    """
    scores = np.zeros(values.shape, np.float32)
    if mask.any():
        scores[mask] = -np.log10(rankdata(-values[mask], method="max") / mask.sum())
    return scores


def existing_map(examined: Examined, settings: Settings) -> Scored:
    """The map that other software made of a scan, resampled (linear) to the scan's grid.

    Args:
        settings: Its ``maps`` hold it under one of the names in :func:`map_files`. Its ``maps_threshold`` is the value
            from which on a voxel is flagged, and becomes the threshold of the score; None ranks the values in their own
            brain instead.

    Raises:
        BadInput: ``map_missing`` or ``map_unreadable``.
    """
    case, folder, limit = examined.case, settings.maps, settings.rule.threshold
    assert folder is not None
    file = next((f for f in map_files(folder, case) if f.is_file()), None)
    if file is None:
        tried = ", ".join(str(f.relative_to(folder)) for f in map_files(folder, case))
        raise BadInput("map_missing", f"There is no map of {case.id}.", f"Expected in the folder of maps: {tried}.")
    reference = examined.prepared.reference.blank()
    values = sitk.GetArrayFromImage(sitk.Resample(_read_map(file), reference, sitk.Transform(), sitk.sitkLinear))
    raw = np.where(examined.native_mask, values, 0).astype(np.float32)
    flagged = settings.maps_threshold
    score = rank_score(raw, examined.native_mask) if flagged is None else raw / np.float32(flagged) * np.float32(limit)
    return Scored(MAPS, raw, score, limit)


def _read_map(file: Path) -> sitk.Image:
    """Unlike a scan, a map may be constant or hold few values."""
    try:
        image = sitk.ReadImage(str(file), sitk.sitkFloat32)
    except RuntimeError as error:
        raise BadInput("map_unreadable", f"{file} cannot be read as an image.", "Write it as NIfTI.") from error
    values = sitk.GetArrayViewFromImage(image)
    if image.GetDimension() != 3 or not np.isfinite(values).all():
        raise BadInput("map_unreadable", f"{file} is no 3-D map of finite numbers.", "Replace what is not a number.")
    if np.abs(values).max() > LARGEST:
        raise BadInput("map_unreadable", f"{file} holds values beyond {LARGEST:.0f}.", "Scale all maps alike.")
    return image


def map_files(folder: Path, case: Case) -> list[Path]:
    """Where the map of a case may be: named by the case's id, by patient and contrast, or by the patient alone; or in a
    folder of that name, as ``detect`` writes it.
    """
    names = (case.id, f"{case.patient}_{case.contrast}", f"{case.patient}_{case.contrast.lower()}", case.patient)
    return [folder / place for name in names for place in (f"{name}.nii.gz", f"{name}/heatmap.nii.gz")]
