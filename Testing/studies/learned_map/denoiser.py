"""A denoiser that goes on learning on the anomalies of the learned map, and what its residual is worth then.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/denoiser.py --data DATA --cache CACHE --output DIR \\
        [--steps 660] [--bundle residual]
    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/denoiser.py --data DATA --cases CASES --judge [FILE]

It starts from a bundle's denoiser, with the objective that this one was fitted with: anomalies taken out of a slice
from under noise, errors in them weighing four times. But the anomalies are three-dimensional and in the scan before it
is normalized. A third, two thirds and all of the steps are kept; ``--judge`` tells the average precision of the
residual on the judgement's cases, with the bundle's own denoiser when no file is named.
"""

from __future__ import annotations

import argparse
import copy
from collections import defaultdict
from pathlib import Path

import judge_cases as judged
import numpy as np
import torch
from judge_cases import Case
from safetensors.torch import load_file, save_file
from torch.nn import functional

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.methods import smoothing_of
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.method.anomaly_map.learned_inputs import NEIGHBORS, SliceInputs
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.learned_map import batches, material, scans
from conddiffusion_uad.training.learned_map.batches import Batch
from conddiffusion_uad.training.learned_map.scans import Slab

SCANS = 4  # of a batch, with four slices each
RATE, WARM_UP, EMA = 1e-4, 30, 0.99
TIMESTEPS = (1, 500)
MORE = 3.0  # of an error in an anomaly
LEAST_SHARE = 0.5  # of brain in a pixel of 2 mm


class Pairs(batches.Batches):
    """Batches whose inputs are slices at 2 mm, (B, 1, H, W): ``fine`` with anomalies, ``coarse`` the same without.

    Their ``balance`` is how much an error counts; ``weight`` says nothing.
    """

    def __getitem__(self, number: int) -> Batch:
        """Batch ``number``."""
        return batches.joined([self._part(np.random.default_rng([self._seed, number, k])) for k in range(SCANS)])

    def _batch(self, slab: Slab, rng: np.random.Generator) -> Batch:
        chosen = slice(NEIGHBORS, len(slab.volume) - NEIGHBORS)
        sick, well, mask, label = (
            each[chosen, None].float() for each in (slab.volume, slab.rank, slab.mask, slab.label)
        )
        share, label = (functional.avg_pool2d(each, 2) for each in (mask, slab.label[chosen, None].float()))
        inside = share >= LEAST_SHARE
        sick, well = (
            functional.avg_pool2d(each * mask, 2) / share.clamp(min=LEAST_SHARE) * inside for each in (sick, well)
        )
        counts = torch.ones_like(label), 1 + MORE * label
        return Batch(SliceInputs(sick.contiguous(), well, inside), label, *counts, label > 0)


class Twin(scans.Scan):
    """A scan that gives, in place of the ranks, its volume without the anomalies, acquired and normalized alike."""

    def changed(self, healthy, lattice, anomalies):
        """As the scan does it; what it is with the look-alikes alone is kept."""
        self._well, _ = super().changed(healthy, lattice, [each for each in anomalies if not each.counts])
        return super().changed(healthy, lattice, anomalies)

    def finished(self, image, probe, coarse, made, label, healthy, full, rng):
        """As the scan does it, twice with the same noise."""
        again = copy.deepcopy(rng)
        volume, _, mask, found = super().finished(image, probe, coarse, made, label, healthy, full, rng)
        well, *_ = super().finished(image, probe, coarse, self._well, label, healthy, full, again)
        return volume, well, mask, found


def train(model: ConditionedDiffusion, data: Pairs, steps: int, output: Path) -> None:
    """Go on with a denoiser and its encoder; its running mean is written thrice."""
    output.mkdir(parents=True, exist_ok=True)
    model.train()
    mean, optimizer = copy.deepcopy(model).eval(), torch.optim.AdamW(model.parameters(), RATE, weight_decay=0)
    drawn, losses = torch.Generator().manual_seed(3), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (1 - step / steps)
        losses.append(_advance(model, optimizer, data[step], drawn))
        with torch.no_grad():
            for past, current in zip(mean.parameters(), model.parameters(), strict=True):
                past.lerp_(current, 1 - min(EMA, (step + 1) / (step + 10)))
        if step % 10 == 9:
            print(step + 1, f"{np.mean(losses[-10:]):.4f}", flush=True)
        if step + 1 in (steps // 3, 2 * steps // 3, steps):
            save_file(mean.state_dict(), output / f"{step + 1}.safetensors")


def _advance(model: ConditionedDiffusion, optimizer: torch.optim.Optimizer, batch: Batch, drawn: torch.Generator):
    sick, well = batch.inputs.fine, batch.inputs.coarse
    timestep = torch.randint(TIMESTEPS[0], TIMESTEPS[1] + 1, (len(sick),), generator=drawn)
    seeds = torch.randint(2**31, (len(sick),), generator=drawn).tolist()
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(Slices.of(sick), timestep, model.noise(seeds, sick).expand_as(sick))
    loss = 2 * (batch.balance * (estimate - well).abs()).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def judge(bundle: Bundle, cases: list[tuple[str, Case]]) -> None:
    """Print the average precision of the residual of each case with lesions, and the means of the groups."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, case in cases:
        if case.single or not case.lesions.any():
            continue
        coarse, inside = judged.halved_scan(case.volume.astype(np.float32), case.mask)
        mean = restore(bundle, Volume(coarse, inside), case.contrast).mean
        shown = Restored(Volume(coarse, inside), case.contrast, mean[None], 1)
        heat = smoothing_of(bundle, case.contrast)(shown, bundle.model).repeat(2, 1).repeat(2, 2)
        mask, truth = case.mask[::2], case.lesions[::2] > 0
        found[case.group, case.contrast].append(count(heat[::2][mask], truth[mask]).average_precision())
        print(name, f"{found[case.group, case.contrast][-1]:.4f}", flush=True)
    for (group, contrast), values in found.items():
        print(f"| {group} {contrast} | {np.mean(values):.3f} |")


def main() -> None:
    """Train, or judge what was trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="prepared healthy inputs; made from the data")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--steps", type=int, default=660)
    parser.add_argument("--bundle", default="residual")
    parser.add_argument("--cases", type=Path, help="folder of prepared cases")
    parser.add_argument("--judge", nargs="?", const="", metavar="FILE", help="weights that were kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    bundle = bundles.load(options.bundle)
    if options.judge is None:
        scans.Scan = Twin
        data = Pairs(material.load(options.data, options.cache), seed=7)
        train(copy.deepcopy(bundle.trainable), data, options.steps, options.output)
        return
    cases = judged.load(options.data, options.cases, bundle.to("cpu"))
    if options.judge:
        bundle.trainable.load_state_dict(load_file(options.judge))
    judge(bundle.to("cpu"), cases)


if __name__ == "__main__":
    main()
