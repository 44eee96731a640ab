"""How many findings whole detections make in healthy scans that nothing of a bundle is made from, beside its promise.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/check_promise.py --contrast T1 \\
        --scans HEALTHY/*.nii.gz --output promise.jsonl [--bundle learned]

One line a scan is kept in the output, so that the command goes on where it was stopped; then a Markdown table, with
95 % intervals over people. A bundle that promises nothing is tried at the threshold of 1 % of healthy tissue.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import intervals
import numpy as np
import SimpleITK as sitk
import torch
from judge_figures import LEAST_ML
from kept_lines import KeptLines, Line

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.expected_findings import findings
from conddiffusion_uad.detection.pipeline import detect
from conddiffusion_uad.io.volume import read
from conddiffusion_uad.method.calibration import threshold
from conddiffusion_uad.protocol.job import USUAL_FLAGGED

ASKED = (0.3, 0.5, 1.0, 3.0)


def main() -> None:
    """Detect in each scan that is not done, and show what was promised and made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, nargs="+", required=True)
    parser.add_argument("--contrast", required=True)
    parser.add_argument("--bundle", default="learned")
    parser.add_argument("--output", type=Path, required=True)
    help_same = "scans of one person; may be repeated (of OASIS: 1005_t1.nii.gz 1025_t1.nii.gz)"
    parser.add_argument("--same", nargs="+", action="append", default=[], metavar="NAME", help=help_same)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.load(options.bundle).to("cpu")
    kept = KeptLines(options.output, bundle)
    scans = [kept.get(file.name, lambda file=file: made(file, bundle, options.contrast)) for file in options.scans]
    print(table(scans, options.same))


def limits(bundle: Bundle, contrast: str) -> dict[str, float]:
    """Thresholds by what is promised at them."""
    promised = bundle.expected.get(contrast)
    if promised is None:
        return {f"{USUAL_FLAGGED:.0%} of healthy tissue": threshold(USUAL_FLAGGED)}
    return {f"{asked:g}": promised.threshold(asked) for asked in ASKED}


def made(file: Path, bundle: Bundle, contrast: str) -> Line:
    """Findings, and their ml, in a healthy scan by what was "promised"."""
    heatmap = detect(read(file), bundle, contrast).heatmap
    score = sitk.GetArrayFromImage(heatmap)
    voxel_ml = float(np.prod(heatmap.GetSpacing())) / 1000
    volumes = {name: findings(score, limit, voxel_ml, LEAST_ML) for name, limit in limits(bundle, contrast).items()}
    counted = {name: {"findings": int(v.size), "ml": round(float(v.sum()), 3)} for name, v in volumes.items()}
    return {"promised": counted}


def table(scans: Sequence[Line], same: Sequence[Sequence[str]] = ()) -> str:
    """Mean, median and 90th percentile of findings, and median ml, by what was promised.

    Args:
        scans: One line each.
        same: Names of the scans of one person.
    """
    first = {name: names[0] for names in same for name in names}
    people = [first.get(scan["name"], scan["name"]) for scan in scans]
    heads = ("promised", f"mean of {len(scans)} scans", "median", "90th percentile", "most", "median ml")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in scans[0]["promised"]:
        number = np.array([scan["promised"][name]["findings"] for scan in scans])
        ml = np.median([scan["promised"][name]["ml"] for scan in scans])
        mean = intervals.findings(number.tolist(), people)
        figures = f"{mean} | {np.median(number):g} | {np.percentile(number, 90):.1f} | {number.max()}"
        rows.append(f"| {name} | {figures} | {intervals.short(float(ml))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
