"""The files of an evaluation that never was: random scores with a known distribution."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation import record as records_on_disk
from conddiffusion_uad.evaluation.metrics.lesions import FROC_THRESHOLDS
from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, count
from conddiffusion_uad.evaluation.record import MethodRecord, Record

THRESHOLD = 2.0
VOXEL_ML = 0.008
STRENGTHS = {"model": 2.5, "blur residual": 1.0, "random": 0.0}
"""By method: how much higher lesion voxels score on average than healthy ones."""


def about() -> dict[str, Any]:
    """What was asked for: evaluation.json."""
    return {
        "bundles": [{"name": "residual", "sha256": "f00d" * 16}],
        "protocol": "native",
        "options": {"healthy_flagged": 0.01, "min_volume_ml": 0.05, "seed": 0},
        "software": {"conddiffusion_uad": "0.1.0", "python": "3.11.7"},
        "commands": ["conddiffusion-uad evaluate mslub:data --bundle residual --output results"],
        "noted": ["  seg.nii.gz: It is on another grid."],
        "date": "2026-01-31",
        "failures": [{"id": "mslub-99-T2", "code": "no_brain", "message": "The scan has no brain."}],
    }


def evaluation(
    patients: int = 8, *, strengths: dict[str, float] = STRENGTHS, voxels: int = 3000, seed: int = 0
) -> tuple[list[Record], dict[tuple[str, str], ScoreCounts]]:
    """Records of labeled T2 scans (mslub) and half as many healthy T1 scans (ixi); counts by id and method."""
    rng = np.random.default_rng(seed)
    records, counts = [], {}
    for dataset, contrast, number in (("mslub", "T2", patients), ("ixi", "T1", patients // 2)):
        for patient in range(number):
            record, scores = _scan(f"{dataset}-{patient:02}", dataset, contrast, strengths, voxels, rng)
            records.append(record)
            counts |= {(record.id, method): values for method, values in scores.items()}
    return records, counts


def write(folder: Path, records: Sequence[Record], counts: dict[tuple[str, str], ScoreCounts]) -> None:
    """Write evaluation.json, the records, the counts and a small picture of each scan."""
    from PIL import Image

    (folder / records_on_disk.FOLDER).mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(about()), encoding="utf-8")
    for record in records:
        of = {method: counts[record.id, method] for method in record.methods if (record.id, method) in counts}
        records_on_disk.save(folder, record, records_on_disk.count_arrays(of))
        Image.new("RGB", (8, 4)).save(records_on_disk.file_of(folder, record.id, ".png"))


def _scan(
    patient: str, dataset: str, contrast: str, strengths: dict[str, float], voxels: int, rng: np.random.Generator
) -> tuple[Record, dict[str, ScoreCounts]]:
    labeled = dataset != "ixi"
    sizes = rng.choice([5, 20, 100, 400], rng.integers(1, 6)) * labeled  # voxels of each lesion
    which = np.repeat(np.arange(len(sizes)), sizes)
    truth = np.arange(voxels) < len(which)
    difficulty = rng.uniform(0.3, 1.2)
    scores = {
        method: rng.exponential(1 / math.log(10), voxels)
        + truth * strength * difficulty * rng.uniform(0.5, 1.2, voxels)
        for method, strength in strengths.items()
    }
    counts = {method: count(values, truth) for method, values in scores.items()}
    record = Record(
        id=f"{patient}-{contrast}",
        case=f"{patient}-{contrast}",
        patient=patient,
        dataset=dataset,
        contrast=contrast,
        labeled=labeled,
        device="cpu",
        precision="fp32",
        voxel_ml=VOXEL_ML,
        brain_ml=voxels * VOXEL_ML,
        lesion_ml=len(which) * VOXEL_ML,
        prevalence=len(which) / voxels,
        reconstruction={
            "l1_healthy": 0.03,
            "l1_lesion": 0.09 if labeled else None,
            "l1_ratio": 3.0 if labeled else None,
            "ssim": 0.9,
            "psnr": 27.0,
            "histogram_kl": 0.05,
            "latent_auroc": 0.7 if labeled else None,
        },
        seconds={"prepare": 12.0, "reconstruct": 20.0 + rng.random(), "total": 33.0 + rng.random()},
        peak_memory_mb=900.0,
        notes=["The label lay on another grid."] if patient.endswith("00") else [],
        methods={m: _measured(scores[m], truth, which, counts[m]) for m in strengths},
    )
    return record, counts


def _measured(scores: np.ndarray, truth: np.ndarray, which: np.ndarray, counts: ScoreCounts) -> MethodRecord:
    """Each healthy voxel above a threshold is a false finding of its own."""
    lesion_scores = [scores[truth][which == number] for number in range(which.max(initial=-1) + 1)]
    lesions = [
        {"ml": len(of) * VOXEL_ML, "peak": float(of.max()), "detected": bool(of.max() >= THRESHOLD), "iou": 0.4}
        for of in lesion_scores
        if len(of)
    ]
    healthy = scores[~truth]
    best = counts.best_dice() or (None, None)
    return MethodRecord(
        threshold=2.0,
        average_precision=counts.average_precision(),
        auroc=counts.auroc(),
        dice=counts.dice_at(THRESHOLD),
        oracle_dice=best[0],
        oracle_threshold=best[1],
        flagged_fraction=float((healthy >= THRESHOLD).mean()),
        flagged_ml=int((scores >= THRESHOLD).sum()) * VOXEL_ML,
        false_findings=int((healthy >= THRESHOLD).sum()),
        false_ml=int((healthy >= THRESHOLD).sum()) * VOXEL_ML,
        surface_dice=0.5 if truth.any() else None,
        hausdorff95_mm=12.0 if truth.any() else None,
        lesions=lesions,
        froc=[
            {
                "threshold": level,
                "false_findings": int((healthy >= level).sum()),
                "detected": sum(lesion["peak"] >= level for lesion in lesions),
            }
            for level in FROC_THRESHOLDS
        ],
        slices=[
            [float(part.max()), bool(of.any())]
            for part, of in zip(*(np.split(a, 10) for a in (scores, truth)), strict=True)
        ],
    )
