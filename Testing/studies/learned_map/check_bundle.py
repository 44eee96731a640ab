"""What a bundle with a learned map makes of the cases of the judgement at its usual threshold, as a Markdown table.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/check_bundle.py --data DATA --cache CASES BUNDLE

False findings are those that touch no lesion. Single slices are left out: a bundle scores scans.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import judge_cases as judged
import numpy as np
import torch
from judge_cases import Case
from judge_figures import VOXEL_ML, rank_map
from make_bundle import LEAST_ML, map_of
from scipy import ndimage

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.protocol.expected_findings import USUAL

_NEIGHBORS = np.ones((3, 3, 3))
_ROWS = ("AP", "AP of rank", "Dice", "best Dice", "lesions from .1 ml", "of them found", "false findings", "false ml")


def main() -> None:
    """Print one row a group and contrast: means over its scans, lesions in all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared cases")
    parser.add_argument("--cases", default="", help="only those whose names begin so")
    parser.add_argument("--denoiser", default="residual", help="bundle that made the reconstructions of the cases")
    parser.add_argument("bundle")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.load(options.bundle).to("cpu")
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for name, case in judged.load(options.data, options.cache, bundles.load(options.denoiser), options.cases):
        if not case.single and case.lesions.any():
            figures = figures_of(case, bundle)
            rows[f"{case.group} {case.contrast}"].append(figures)
            print(name, {key: round(value, 3) for key, value in figures.items()}, flush=True)
    print("| | scans |", " | ".join(_ROWS), "|\n|" + "---|" * (2 + len(_ROWS)))
    for group, found in rows.items():
        means = {key: float(np.mean([each[key] for each in found])) for key in _ROWS}
        print(f"| {group} | {len(found)} |", " | ".join(f"{means[key]:.3g}" for key in _ROWS), "|")


def figures_of(case: Case, bundle: Bundle) -> dict[str, float]:
    """The figures of one scan."""
    found, lesions = map_of(bundle, case), case.lesions > 0
    score = bundle.calibration[case.contrast].score(found, case.mask)
    limit = bundle.expected[case.contrast].threshold(USUAL)
    labels, _ = ndimage.label(score >= limit, _NEIGHBORS)
    large = np.flatnonzero(np.bincount(labels.ravel()) * VOXEL_ML >= LEAST_ML)[1:]
    flagged = np.isin(labels, large)
    true = np.unique(labels[lesions & flagged])
    false = flagged & ~np.isin(labels, true)
    sizes = np.bincount(case.lesions.ravel()) * VOXEL_ML
    counted = np.flatnonzero(sizes >= 0.1)
    counted = counted[counted > 0]
    inside = count(score[case.mask], lesions[case.mask])
    return {
        "AP": count(found[case.mask], lesions[case.mask]).average_precision(),
        "AP of rank": count(rank_map(case)[case.mask], lesions[case.mask]).average_precision(),
        "Dice": 2 * float((flagged & lesions).sum()) / float(flagged.sum() + lesions.sum()),
        "best Dice": inside.best_dice()[0],
        "lesions from .1 ml": float(len(counted)),
        "of them found": float(sum((flagged & (case.lesions == number)).any() for number in counted)),
        "false findings": float(len(large) - len(true)),
        "false ml": float(false.sum() * VOXEL_ML),
    }


if __name__ == "__main__":
    main()
