"""Scoring labeled and healthy scans with a bundle and with the baselines, everything smoothed alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.detection.reconstruction import reconstruct
from conddiffusion_uad.detection.scoring import anomaly_score, residual, threshold
from conddiffusion_uad.evaluation.baselines import baseline_maps
from conddiffusion_uad.evaluation.cases import Case, Examined
from conddiffusion_uad.evaluation.metrics import average_precision, best_dice, dice
from conddiffusion_uad.model.bundle import Bundle

MODEL = "model"
Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """What was measured in one case, inside the brain.

    Attributes:
        case: Which.
        prevalence: Share of the brain that is lesion.
        precision: Average precision, by method; NaN for healthy scans.
        dice: Of what the model flags at the default threshold.
        best_dice: At the threshold that is best for this very case; nobody can know that one beforehand.
        flagged: Share of the healthy brain that the model flags at the default threshold.
    """

    case: Case
    prevalence: float
    precision: Mapping[str, float]
    dice: float
    best_dice: float
    flagged: float


def measure(examined: Examined, maps: Maps, healthy_flagged: float = 0.01) -> Result:
    """Judge the score maps of a case.

    Args:
        examined: The case.
        maps: Scores on the model's grid by method; :data:`MODEL` is the anomaly score.
        healthy_flagged: Fraction of healthy tissue that the threshold may flag.
    """
    brain = examined.native_mask
    truth = examined.native_truth[brain]
    judged = {name: examined.native(values)[brain] for name, values in maps.items()}
    over = judged[MODEL] > threshold(healthy_flagged)
    return Result(
        examined.case,
        float(truth.mean()),
        {name: average_precision(values, truth) for name, values in judged.items()},
        dice(over, truth),
        best_dice(judged[MODEL], truth),
        float(over[~truth].mean()),
    )


def score_maps(examined: Examined, bundle: Bundle, seed: int = 0) -> Maps:
    """The anomaly score and the baselines, smoothed by the bundle's rule, on the bundle's grid."""
    volume, mask, contrast = examined.volume, examined.mask, examined.case.contrast
    rule = bundle.config.residual[contrast]
    estimate = reconstruct(volume, mask, bundle.model, levels=bundle.config.levels, seed=seed)
    residuals = residual(volume, estimate, mask, rule)
    return {
        MODEL: anomaly_score(residuals, mask, bundle.calibration[contrast]),
        **baseline_maps(volume, mask, rule),
    }
