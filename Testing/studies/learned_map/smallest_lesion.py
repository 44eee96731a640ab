"""How large a lesion has to be, by contrast, to be found at a bundle's usual threshold.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/smallest_lesion.py --data DATA \\
        --output smallest.jsonl [--contrast T1] [--hosts 4] BUNDLE

Lesions of the second generator, of about .1, .3, 1, 3, 10 and 30 ml, are put into healthy scans, each in two rounds:
real T1-weighted scans of OASIS; for T2 and FLAIR label maps, and T1-weighted scans made to look like it. One line a
scan is kept in the output, so that the command goes on where it was stopped. A lesion is found when a finding of at
least .05 ml has a voxel in it. The share found by volume is fitted by isotonic regression; where the fit reaches 50 and
90 % is told as the interval of 95 % of the fits to resampled scans, of which there have to be five.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import hosts
import intervals
import judge_cases as judged
import numpy as np
import torch
from check_bundle import findings_of
from hosts import Host
from judge_cases import Case
from kept_lines import KeptLines, Line
from make_bundle import map_of
from scipy import optimize
from second_opinion import EDGE

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.metrics.statistics import FEWEST_PATIENTS
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.protocol.job import CONTRASTS

SIZES_ML = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
ROUNDS = ((30.0, 1.0, 1.0, 0.3, 0.3, 0.1, 0.1), (10.0, 3.0, 3.0, 1.0, 1.0, 0.3, 0.3, 0.1, 0.1))
"""Lesions of a scan, ml, the largest first: it finds room."""

SHARES = (0.5, 0.9)
_APART_MM = 12.0
_RESAMPLES = 1000
Hit = tuple[float, bool]


def main() -> None:
    """Put lesions into the hosts that are not done, and print which were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--contrast", choices=CONTRASTS, action="append", help="default: all")
    parser.add_argument("--hosts", type=int, default=4, help="of each contrast (default: %(default)s)")
    parser.add_argument("bundle")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.load(options.bundle).to("cpu")
    kept, lines = KeptLines(options.output, bundle), []
    for contrast in options.contrast or CONTRASTS:
        known = [(name, make) for name, make in hosts.further(options.data) if name.endswith(contrast)]
        for name, make in known[: options.hosts]:
            lines += [kept.get(f"{name}_{number}", made) for number, made in enumerate(rounds(name, make, bundle))]
    print(table(lines))


def rounds(name: str, make: Callable[[], Host], bundle: Bundle) -> list[Callable[[], Line]]:
    """For each round, what puts its lesions into a host, which is made once, and looks for them."""
    ready: list[Host] = []

    def found(number: int) -> Line:
        if not ready:
            ready.append(make())
        return looked_for(ready[0], number, hosts.seed_of(name) + number, bundle, name)

    return [partial(found, number) for number in range(len(ROUNDS))]


def looked_for(host: Host, number: int, seed: int, bundle: Bundle, name: str) -> Line:
    """The lesions of a round in a host: volume and whether it was found."""
    sizes = [(ml / EDGE**3, ml / EDGE**3) for ml in ROUNDS[number]]  # so that what counts of it has that volume
    made = host.implanted(sizes, seed, _APART_MM)
    volume = host.normalized(made.image)
    coarse = Volume(*judged.halved_scan(volume, host.mask), bundle.config.grid)
    samples = np.clip(restore(bundle, coarse, host.contrast).samples, 0, 1)
    case = Case("implanted", host.contrast, volume, host.mask, made.lesions, samples, np.zeros(0), False)
    return {"contrast": host.contrast, "host": name, **findings_of(case, map_of(bundle, case), bundle)}


def table(lines: Sequence[Line]) -> str:
    """A row for each contrast: which lesions of about each size were found, and from where on half and nine tenths."""
    contrasts: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        contrasts[line["contrast"]].append(line)
    heads = ("", "hosts", *(f"about {intervals.short(ml)} ml" for ml in SIZES_ML))
    heads += tuple(f"{share:.0%} are found from" for share in SHARES)
    rows = [heads, ("---",) * len(heads), *(row(contrast, of) for contrast, of in contrasts.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(contrast: str, lines: Sequence[Line]) -> Sequence[str]:
    """The cells of a contrast."""
    hosts_of = sorted({line["host"] for line in lines})
    scans = [[(ml, hit) for line in lines if line["host"] == host for ml, hit in line["lesions"]] for host in hosts_of]
    hits = np.array([hit for own in scans for hit in own])
    nearest = np.abs(np.log(hits[:, :1] / np.array(SIZES_ML))).argmin(1)
    found = [hits[nearest == k, 1] for k in range(len(SIZES_ML))]
    shares = [intervals.share(int(each.sum()), len(each)) for each in found]
    return (contrast, str(len(hosts_of)), *shares, *(between(scans, share) for share in SHARES))


def between(scans: Sequence[Sequence[Hit]], share: float) -> str:
    """From which volume on such a share is found: an interval over resampled hosts, or a number where they are few."""
    largest = max(ml for own in scans for ml, _ in own)
    if len(scans) < FEWEST_PATIENTS:
        found = reached([hit for own in scans for hit in own], share)
        return f"about {intervals.short(found)} ml" if np.isfinite(found) else f"above {intervals.short(largest)} ml"
    random = np.random.default_rng(0)
    drawn = [
        reached([hit for k in random.integers(len(scans), size=len(scans)) for hit in scans[k]], share)
        for _ in range(_RESAMPLES)
    ]
    low, high = intervals.quantiles(np.array(drawn))
    if not np.isfinite(low):
        return f"above {intervals.short(largest)} ml"
    if not np.isfinite(high):
        return f"{intervals.short(low)} ml or more, perhaps above {intervals.short(largest)}"
    ends = [intervals.short(end) for end in (low, high)]
    return f"{ends[0]} ml" if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]} ml"


def reached(hits: Sequence[Hit], share: float) -> float:
    """The smallest volume at which an isotonic fit of the share found is as large; infinite if none is."""
    volumes, which, weights = np.unique([ml for ml, _ in hits], return_inverse=True, return_counts=True)
    shares = np.bincount(which, [hit for _, hit in hits]) / weights
    place = int(np.searchsorted(optimize.isotonic_regression(shares, weights=weights).x, share - 1e-9))
    return float(volumes[place]) if place < len(volumes) else float("inf")


if __name__ == "__main__":
    main()
