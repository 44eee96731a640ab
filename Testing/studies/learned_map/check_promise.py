"""How many findings whole detections make in healthy scans that nothing of a bundle is made from, beside its promise.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/check_promise.py --contrast T1 \\
        --scans HEALTHY/*.nii.gz --output promise.jsonl [--bundle learned]

One line a scan is kept in the output, so that the command goes on where it was stopped; then a Markdown table. A bundle
that promises nothing is tried at the threshold of 1 % of healthy tissue.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.expected_findings import findings
from conddiffusion_uad.detection.pipeline import detect
from conddiffusion_uad.io.volume import read
from conddiffusion_uad.method.calibration import threshold
from conddiffusion_uad.protocol.job import USUAL_FLAGGED

ASKED = (0.3, 0.5, 1.0, 3.0)
LEAST_ML = 0.05  # of a finding


def main() -> None:
    """Detect in each scan that is not done, and show what was promised and made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, nargs="+", required=True)
    parser.add_argument("--contrast", required=True)
    parser.add_argument("--bundle", default="learned")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.load(options.bundle).to("cpu")
    known = options.output.read_text("utf-8").splitlines() if options.output.is_file() else []
    found = {line["scan"]: line for line in map(json.loads, known)}
    for file in options.scans:
        if file.name not in found:
            found[file.name] = {"scan": file.name, **made(file, bundle, options.contrast)}
            with options.output.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(found[file.name]) + "\n")
    print(table(list(found.values())))


def limits(bundle: Bundle, contrast: str) -> dict[str, float]:
    """Thresholds by what is promised at them."""
    promised = bundle.expected.get(contrast)
    if promised is None:
        return {f"{USUAL_FLAGGED:.0%} of healthy tissue": threshold(USUAL_FLAGGED)}
    return {f"{asked:g}": promised.threshold(asked) for asked in ASKED}


def made(file: Path, bundle: Bundle, contrast: str) -> dict[str, dict[str, float]]:
    """Findings, and their ml, in a healthy scan by what was promised."""
    heatmap = detect(read(file), bundle, contrast).heatmap
    score = sitk.GetArrayFromImage(heatmap)
    voxel_ml = float(np.prod(heatmap.GetSpacing())) / 1000
    volumes = {name: findings(score, limit, voxel_ml, LEAST_ML) for name, limit in limits(bundle, contrast).items()}
    return {name: {"findings": int(each.size), "ml": round(float(each.sum()), 3)} for name, each in volumes.items()}


def table(scans: list[dict]) -> str:
    """Mean, median and 90th percentile of findings, and median ml, by what was promised."""
    heads = ("promised", f"mean of {len(scans)} scans", "median", "90th percentile", "most", "median ml")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in [key for key in scans[0] if key != "scan"]:
        number = np.array([scan[name]["findings"] for scan in scans])
        ml = np.median([scan[name]["ml"] for scan in scans])
        figures = f"{number.mean():.2f} | {np.median(number):g} | {np.percentile(number, 90):.1f} | {number.max()}"
        rows.append(f"| {name} | {figures} | {ml:.2f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
