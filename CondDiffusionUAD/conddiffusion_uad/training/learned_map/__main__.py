"""Train the learned anomaly map in the background: ``python -m conddiffusion_uad.training.learned_map``."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import torch

from conddiffusion_uad.bundle import bundle
from conddiffusion_uad.method.anomaly_map.learned_inputs import CONTRASTS
from conddiffusion_uad.training.learned_map import material
from conddiffusion_uad.training.learned_map.batches import Batches
from conddiffusion_uad.training.learned_map.loop import Settings, Training


def main() -> None:
    """Prepare the data or take it from the cache, then train, going on from the folder's checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="development data")
    parser.add_argument("--packed", type=Path, help="instead of data and cache: what --pack made")
    parser.add_argument("--pack", type=Path, help="only keep the material in this folder, in at most 40 MB")
    parser.add_argument("--start", type=Path, help="exported weights to start from, when there is no checkpoint")
    parser.add_argument("--export", type=Path, help="file for the weights that a detection needs")
    parser.add_argument("--keep-every", type=float, default=180.0, help="seconds between checkpoints")
    parser.add_argument("--cache", type=Path, help="folder of prepared healthy inputs; made from the data")
    parser.add_argument("--output", type=Path, help="checkpoint and learning curve")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--last", type=float, default=float("inf"), help="step to stop before")
    parser.add_argument("--bundle", default="residual", help="whose denoiser reconstructs")
    parser.add_argument("--reconstructed", type=int, default=Settings.reconstructed, help="every how many-th batch")
    parser.add_argument("--cool-down", type=int, nargs=2, metavar=("STEP", "STEPS"), default=None)
    parser.add_argument(
        "--contrast", choices=CONTRASTS, help="the only one that is trained; all of them when not given"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = material.unpacked(options.packed) if options.packed else material.load(options.data, options.cache)
    if options.pack is not None:
        print("left out:", ", ".join(material.pack(found, options.pack, 40_000_000)) or "nothing")
        return
    cool_down = None if options.cool_down is None else tuple(options.cool_down)
    settings = Settings(reconstructed=options.reconstructed, cool_down=cool_down)
    denoiser = bundle.load(options.bundle).to(options.device).model if options.reconstructed else None
    batches = Batches(found, settings.seed, options.contrast)
    training = Training(batches, settings, options.output, denoiser, options.device, options.workers)
    if not training.resume() and options.start is not None:
        training.start_from(options.start)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(training, "stopped", True))
    training.run(options.seconds, options.last, options.keep_every, exported=options.export)


if __name__ == "__main__":
    main()
