"""What a bundle with a learned map makes of the cases of the judgement, and of more implanted lesions, at its usual
threshold, beside what has to be beaten: a Markdown table with 95 % intervals. The share of lesions found is
that where one false finding is expected in a healthy scan.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/check_bundle.py --data DATA --cache CASES \\
        --output check.jsonl [--untrained] BUNDLE

One line a scan is kept in the output, so that the command goes on where it was stopped. Each single slice becomes a
thin volume of 6 mm; its precision is that of the slice. False findings are those that touch no lesion.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import intervals
import judge_cases as judged
import numpy as np
import torch
from judge_cases import Case
from judge_figures import PLAIN, SINGLE, findings_from
from kept_lines import KeptLines, Line
from make_bundle import map_of

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.methods import UNTRAINED, untrained
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.training.data.healthy_bank import FINE

SIZES = {"of .1 to .5 ml, at 1": (0.1, 0.5), "above .5 ml, at 1": (0.5, float("inf"))}
_ARRAYS = ("volume", "mask", "lesions", "heat")
AT_ONE = "lesions at one"  # each volume, and whether it is found where one false finding is expected
_LEFT_OUT = ("healthy", "stroke")  # strokes are evaluated as a detection does it, all of them: see docs/TRAINING.md
_SHOWN = slice(SINGLE - 1, SINGLE + 2)  # slices of the fine grid that a thin volume fills
_PLAIN = ("Dice", "best Dice"), ("false findings", "false ml")
_HEADS = ("", "scans", "AP", "AP of rank", "best other plain map", "residual", *_PLAIN[0], *SIZES, *_PLAIN[1])


def main() -> None:
    """Judge the scans that are not done, and print one row a group and contrast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared cases")
    parser.add_argument("--cases", default="", help="only those whose names begin so")
    parser.add_argument("--denoiser", default="residual", help="bundle that made the reconstructions of the cases")
    parser.add_argument("--untrained", action="store_true", help="the map with networks that learned nothing, too")
    parser.add_argument("--output", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("bundle")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle, denoiser = (bundles.load(name).to("cpu") for name in (options.bundle, options.denoiser))
    kept, lines = KeptLines(options.output, bundle), []
    for name, made in judged.each(options.data, options.cache, denoiser):
        if name.startswith(options.cases) and not name.startswith(_LEFT_OUT):
            lines += [line for line in judge(name, made, bundle, kept, options.untrained) if line["AP"]]
    print(table(lines))


def judge(name: str, made: judged.Made, bundle: Bundle, kept: KeptLines, nothing_learned: bool) -> Iterator[Line]:
    """The figures of a case: one line, or one for each of its single slices; without AP where it has no lesion."""
    case = cache(made)

    def figures(index: int) -> Line:
        number = len(case().volume) if case().single else 1
        return {"slices": number, **figures_of(slice_of(case(), index), bundle, nothing_learned)}

    first = kept.get(f"{name}_0", partial(figures, 0))
    yield first
    for index in range(1, first["slices"]):
        yield kept.get(f"{name}_{index}", partial(figures, index))


def figures_of(case: Case, bundle: Bundle, nothing_learned: bool = False) -> Line:
    """The figures of a scan, or of a single slice."""
    about = {"group": case.group, "contrast": case.contrast, "single": case.single}
    if not case.lesions.any():
        return {**about, "AP": {}}
    scan, seen = (thin(case), slice(SINGLE, SINGLE + 1)) if case.single else (case, slice(None))
    found = map_of(bundle, scan)
    maps = {"model": found[seen], **{name: rule(case) for name, rule in PLAIN.items()}}
    if nothing_learned:
        maps[UNTRAINED] = map_of(untrained(bundle), scan)[seen]
    counts = {name: count(each[case.mask], case.lesions[case.mask] > 0) for name, each in maps.items()}
    best = counts["model"].best_dice()
    assert best is not None  # there is a lesion
    precision = {name: each.average_precision() for name, each in counts.items()}
    return {**about, "AP": precision, "best Dice": best[0], **findings_of(scan, found, bundle)}


def slice_of(case: Case, index: int) -> Case:
    """One of a stack of single slices; a scan is what it was."""
    if not case.single:
        return case
    parts = {name: getattr(case, name)[index, None] for name in _ARRAYS}
    return replace(case, samples=case.samples[:, index, None], **parts)


def thin(case: Case) -> Case:
    """A single slice as a thin volume of 6 mm, at +18 mm."""
    parts = {}
    for name in _ARRAYS:
        flat = getattr(case, name)[0]
        parts[name] = np.zeros((FINE.size[2], *flat.shape), flat.dtype)
        parts[name][_SHOWN] = flat
    samples = np.zeros((len(case.samples), FINE.size[2], *case.samples.shape[2:]), case.samples.dtype)
    samples[:, _SHOWN] = case.samples
    return replace(case, samples=samples, single=False, **parts)


def findings_of(case: Case, found: np.ndarray, bundle: Bundle) -> Line:
    """What is flagged of a scan's map at the usual threshold, and which lesions where one false finding is expected."""
    score, expected = bundle.calibration[case.contrast].score(found, case.mask), bundle.expected[case.contrast]
    usual, one = (findings_from(score, case.lesions, at) for at in (expected.usual_threshold(), expected.threshold(1)))
    return {**usual, AT_ONE: one["lesions"]}


def table(lines: Sequence[Line]) -> str:
    """A row for each group and contrast: means over scans with bootstrap intervals, shares with Wilson's."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[f"{line['group']}, {line['contrast']}" + (", single slices" if line["single"] else "")].append(line)
    rows = [_HEADS, ("---",) * len(_HEADS), *(row(name, of) for name, of in groups.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(name: str, lines: Sequence[Line]) -> Sequence[str]:
    """The cells of a group."""

    def mean(values: Iterable[float]) -> str:
        return intervals.mean(list(values), [line["name"] for line in lines])

    known = set.intersection(*(set(line["AP"]) for line in lines))
    precision = {key: [line["AP"][key] for line in lines] for key in sorted(known)}
    best = max(known - {"model", "rank", "residual", UNTRAINED}, key=lambda key: sum(precision[key]))
    hits = [[hit for line in lines for ml, hit in line[AT_ONE] if low <= ml < high] for low, high in SIZES.values()]
    at_threshold, false = ([mean(line[key] for line in lines) for key in keys] for keys in _PLAIN)
    return (
        *(name, str(len(lines)), mean(precision["model"]), mean(precision["rank"])),
        *(f"{mean(precision[best])} {best}", mean(precision["residual"])),
        *at_threshold,
        *(intervals.share(sum(each), len(each)) for each in hits),
        *false,
    )


if __name__ == "__main__":
    main()
