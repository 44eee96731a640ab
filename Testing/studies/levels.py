"""What each noise level and each repetition of a reconstruction brings to average precision, beside what it costs.

OMP_NUM_THREADS=1 PYTHONPATH=CondDiffusionUAD python Testing/studies/levels.py FLAIR flair.nii.gz seg.nii.gz

A reconstruction at a level does not depend on which others there are, so that each is made once for all sets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.io import volume
from conddiffusion_uad.method import run
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Quiet

LEVELS = (100, 200, 300)
SETS = {"100": (0,), "300": (2,), "100, 300": (0, 2), "100, 200, 300": (0, 1, 2), "100, 300 twice": (0, 2, 3, 5)}


def measured(name: str, prepared: Prepared, contrast: str, lesion: np.ndarray, brain: np.ndarray) -> None:
    """Print a line for each of SETS: average precision in the brain, seconds of a level and of the map."""
    bundle = bundles.load(name).to("cpu")
    began = time.process_time()
    made = [run.restore(bundle, prepared, contrast, timesteps=LEVELS, seed=seed) for seed in (0, 1)]
    level = (time.process_time() - began) / len(LEVELS) / len(made)
    samples = np.concatenate([each.samples for each in made])
    part = bundle.method.anomaly_map[contrast]
    for title, chosen in SETS.items():
        began = time.process_time()
        seen = replace(made[0], samples=samples[list(chosen)]).at(getattr(part, "spacing", None))
        with torch.no_grad():
            score = sitk.GetArrayFromImage(seen.brain.score_to_native(part(seen, bundle.model)))
        precision = count(score[brain], lesion[brain]).average_precision()
        seconds = time.process_time() - began
        print(f"{name:10} {title:16} {precision:.3f} {level:6.2f} s a level {seconds:6.2f} s the map", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the shipped bundles on a scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contrast", choices=["T1", "T2", "FLAIR"])
    parser.add_argument("scan")
    parser.add_argument("lesions", help="their map, on any grid")
    chosen = parser.parse_args(arguments)
    scan = volume.read(chosen.scan)
    nearest = sitk.Resample(volume.read_values(chosen.lesions), scan, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    grid = bundles.load().config.grid
    prepared = prepare(scan, grid=grid, atlas=atlas.load(), progress=Quiet())
    brain = sitk.GetArrayViewFromImage(prepared.native_mask) > 0
    for name in bundles.shipped():
        measured(name, prepared, chosen.contrast, sitk.GetArrayViewFromImage(nearest) > 0, brain)


if __name__ == "__main__":
    main()
