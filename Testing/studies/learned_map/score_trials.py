"""What becomes of a bundle's map when each scan is standardized by its healthy part, or a location prior is taken off.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/score_trials.py --data DATA --cache CASES \\
        --bundle BUNDLE --kept MAPS [--contrast T1]

The bundle's own location prior is left out. Of a healthy case, and of one that lesions were implanted in, the prior is
that of the other people. Findings of healthy scans are counted where all others have the usual number on average; the
lesions are looked for at the threshold that suits all of them. The maps are kept, so that a further trial takes half a
minute.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import judge_cases as judged
import numpy as np
import torch
from judge_figures import LEAST_ML, VOXEL_ML, findings_from
from make_bundle import map_of

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.expected_findings import counts, findings, promised
from conddiffusion_uad.bundle.location_priors import without_prior
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.method.anomaly_map.location_prior import LocationPrior
from conddiffusion_uad.training.data.healthy_bank import FINE

HEALTHY_PART = 0.8  # of the brain, the lower scores
SAME_PERSON = {"1025": "1005"}
_SHARES = np.geomspace(4e-3, 2e-6, 60)  # of healthy voxels, above the thresholds at which findings are counted
_HEADS = ("AP", "Dice", "best Dice", "lesions from .1 ml", "of them found", "false findings", "false ml")


@dataclass(frozen=True)
class Scan:
    """A case with its map, (z, y, x)."""

    group: str
    person: str
    found: np.ndarray
    mask: np.ndarray
    lesions: np.ndarray


Trial = Callable[[str, Mapping[str, Scan]], np.ndarray]


def main() -> None:
    """Print a table for each contrast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared cases")
    parser.add_argument("--denoiser", default="residual", help="bundle that made the reconstructions of the cases")
    parser.add_argument("--bundle", default="learned")
    parser.add_argument("--kept", type=Path, required=True, help="folder of maps")
    parser.add_argument("--contrast", nargs="*", default=["T1", "T2", "FLAIR"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.kept.mkdir(parents=True, exist_ok=True)
    bundle = bundles.load(options.bundle).to("cpu")
    for contrast in bundle.config.contrasts:
        bundle = without_prior(bundle, contrast)
    known: dict[str, dict[str, Scan]] = defaultdict(dict)
    for name, case in judged.load(options.data, options.cache, bundles.load(options.denoiser)):
        if not case.single and case.contrast in options.contrast:
            file = options.kept / f"{name}.npy"
            if not file.is_file():
                np.save(file, map_of(bundle, case).astype(np.float32))
            known[case.contrast][name] = Scan(case.group, person(name), np.load(file), case.mask, case.lesions)
    for contrast, scans in known.items():
        print(f"\n| {contrast} | group | findings of healthy scans |", " | ".join(_HEADS), "|")
        print("|---" * (3 + len(_HEADS)) + "|")
        for title, trial in TRIALS.items():
            show(title, scans, {name: trial(name, scans) for name in scans})


def person(name: str) -> str:
    """Who is shown; label maps are people, too."""
    kind, _, rest = name.partition("_")
    who = re.sub(r"_(as_)?(T1|T2|FLAIR)$", "", rest) if kind in ("healthy", "implanted") else name
    return SAME_PERSON.get(who, who)


def as_it_is(name: str, scans: Mapping[str, Scan]) -> np.ndarray:
    """The map."""
    return scans[name].found


def standardized(name: str, scans: Mapping[str, Scan]) -> np.ndarray:
    """The map with the middle and the spread that the healthy part of healthy scans has."""
    middles, spreads = zip(*(_healthy_part(scan) for scan in scans.values() if scan.group == "healthy"), strict=True)
    middle, spread = _healthy_part(scans[name])
    scaled = (scans[name].found - middle) / spread * np.median(spreads) + np.median(middles)
    return np.where(scans[name].mask, np.maximum(scaled, 0), 0)


def _healthy_part(scan: Scan) -> tuple[float, float]:
    """Median of the lower scores, and median distance from it."""
    values = np.sort(scan.found[scan.mask])
    values = values[: int(HEALTHY_PART * len(values))]
    return float(np.median(values)), float(np.median(np.abs(values - np.median(values))))


def lowered(name: str, scans: Mapping[str, Scan]) -> np.ndarray:
    """The map with the location prior of the other healthy people taken off."""
    others = [scan.found for scan in scans.values() if scan.group == "healthy" and scan.person != scans[name].person]
    prior = LocationPrior.measure([(found, FINE) for found in others])
    return np.maximum(scans[name].found - prior.at(FINE), 0)


TRIALS: dict[str, Trial] = {"as it is": as_it_is, "standardized": standardized, "location prior": lowered}


def show(title: str, scans: Mapping[str, Scan], maps: Mapping[str, np.ndarray]) -> None:
    """Rows of one trial."""
    healthy = [name for name, scan in scans.items() if scan.group == "healthy"]
    values = np.concatenate([maps[name][scans[name].mask] for name in healthy])
    thresholds = np.unique(np.quantile(values, 1 - _SHARES))
    counted = counts([maps[name] for name in healthy], thresholds, VOXEL_ML, LEAST_ML)
    made = []
    for k, name in enumerate(healthy):
        others = promised(thresholds, np.delete(counted, k, axis=0), LEAST_ML)
        made.append(findings(maps[name], others.usual_threshold(), VOXEL_ML, LEAST_ML).size)
    limit = promised(thresholds, counted, LEAST_ML).usual_threshold()
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for name, scan in scans.items():
        if scan.lesions.any():
            rows[scan.group].append(figures(maps[name], scan, limit))
    for group, found in rows.items():
        means = " | ".join(f"{mean:.3g}" for mean in np.mean(found, axis=0))
        print(f"| {title} | {group} ({len(found)}) | {np.mean(made):.2f} {made} | {means} |", flush=True)


def figures(found: np.ndarray, scan: Scan, limit: float) -> list[float]:
    """Those of `_HEADS` of a scan with lesions."""
    told = findings_from(found, scan.lesions, limit)
    hits = [hit for ml, hit in told["lesions"] if ml >= 0.1]
    inside = count(found[scan.mask], scan.lesions[scan.mask] > 0)
    falsely = told["false findings"], told["false ml"]
    return [inside.average_precision(), told["Dice"], inside.best_dice()[0], len(hits), sum(hits), *falsely]


if __name__ == "__main__":
    main()
