"""How far worst-case changes too small to be seen move a bundle's residuals, beside random ones of equal size.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/adversarial.py BUNDLE --data DIR [--slices N] [--device cpu]

Prints a Markdown table: a row for each case, aim and size of the changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.data.cases import Examined, examine
from conddiffusion_uad.evaluation.data.find import find
from conddiffusion_uad.evaluation.shifts.adversarial import (
    FALSE_ALARM,
    MISSED_LESION,
    Attack,
    random_like,
    residual,
)
from conddiffusion_uad.method.anomaly_map.mahalanobis import dissimilarity
from conddiffusion_uad.method.brain import slices_of
from conddiffusion_uad.method.seeds import Seeds

SIZES = tuple(step / 255 for step in (0.5, 1, 2, 4))  # gray levels of a screen
AIMS = {"false alarm": FALSE_ALARM, "missed lesion": MISSED_LESION}
HEAD = "| case | aim | size | as it is | random | worst | similarity |"


def rows(bundle: Bundle, examined: Examined, most: int, seed: int = 0) -> Iterator[str]:
    """The rows of a case: mean residuals of healthy tissue or of the lesion, and how alike the scans still are."""
    truth = examined.truth_on_grid() & examined.mask
    chosen = np.sort(np.argsort(-truth.sum(axis=(1, 2)), kind="stable")[:most])
    model, restorer = bundle.adaptable().requires_grad_(False), bundle.method.restore
    slices = slices_of(examined.prepared, bundle.method.context, examined.case.contrast, chosen).to(model.device)
    lesion = torch.from_numpy(truth[chosen]).unsqueeze(1).to(model.device)
    seeds, source = Seeds(seed, chosen), torch.Generator().manual_seed(seed)
    for name, aim in AIMS.items():
        where = slices.brain & ~lesion if aim == FALSE_ALARM else lesion
        for size in SIZES if bool(where.any()) else ():
            worst = Attack(size, aim=aim)(model, restorer, slices, seeds, where)
            images = (slices.image, random_like(slices, worst, source), worst)
            with torch.no_grad():
                found = [float(residual(model, restorer, slices.with_image(i), seeds, where)) for i in images]
            first, last = (image[:, 0].cpu().numpy() for image in (slices.image, worst))
            brain = examined.mask[chosen]
            alike = 1 - dissimilarity(first, last, brain)[brain].mean()
            cells = [
                examined.case.id,
                name,
                f"{255 * size:g}/255",
                *(f"{value:.4f}" for value in found),
                f"{alike:.4f}",
            ]
            yield f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack a bundle and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="labeled scans, as evaluate takes them")
    parser.add_argument("--slices", type=int, default=4, metavar="N", help="of each scan, those with the most lesion")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    bundle = bundles.load(options.bundle).to(options.device, "fp32")
    print(HEAD, "|---" * HEAD.count(" | ") + "|---|", sep="\n")
    for case in find([options.data], bundle.config.contrasts):
        if case.truth:
            for row in rows(bundle, examine(case, bundle.config.grid), options.slices):
                print(row, flush=True)


if __name__ == "__main__":
    main()
