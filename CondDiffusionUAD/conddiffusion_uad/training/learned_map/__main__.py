"""Train the learned anomaly map in the background: ``python -m conddiffusion_uad.training.learned_map``."""

from __future__ import annotations

import argparse
import math
import signal
from pathlib import Path

import torch

from conddiffusion_uad.bundle import bundle
from conddiffusion_uad.method.anomaly_map.learned_inputs import CONTRASTS
from conddiffusion_uad.training.learned_map import material, packing
from conddiffusion_uad.training.learned_map.batches import Batches
from conddiffusion_uad.training.learned_map.loop import Keeping, Settings, Training


def main() -> None:
    """Prepare the data or take it from the cache, then train, going on from the folder's checkpoint."""
    options = _options()
    torch.set_num_threads(options.threads)
    found = packing.unpacked(options.packed) if options.packed else material.load(options.data, options.cache)
    if options.pack is not None:
        print("left out:", ", ".join(packing.pack(found, options.pack, options.pack_bytes)) or "nothing")
        return
    cool_down = None if options.cool_down is None else tuple(options.cool_down)
    settings = Settings(
        options.seed,
        learning_rate=options.learning_rate,
        cool_down=cool_down,
        reconstructed=options.reconstructed,
        false_findings=not options.no_false_findings,
    )
    denoiser = bundle.load(options.bundle).to(options.device).model if options.reconstructed else None
    maker = "cpu" if options.workers else options.device
    batches = Batches(found, settings.seed, options.contrast, maker)
    training = Training(batches, settings, options.output, denoiser, options.device, options.workers)
    if not training.resume() and options.start is not None:
        training.start_from(options.start)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(training, "stopped", True))
    keeping = Keeping(options.keep_every, options.export, options.light)
    training.run(options.seconds, options.last, keeping, cooling=options.cool_down_seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, help="development data")
    add("--packed", type=Path, help="instead of data and cache: what --pack made")
    add("--pack", type=Path, help="only keep the material in this folder, as much as fits")
    add("--pack-bytes", type=int, default=packing.MOST_BYTES, help="that fit (default: %(default)s)")
    add("--start", type=Path, help="exported weights to start from, when there is no checkpoint")
    add("--export", type=Path, help="file for the weights that a detection needs")
    add("--keep-every", type=float, default=Keeping.every, help="seconds between checkpoints")
    add("--light", action="store_true", help="checkpoints of 15 MB, not 23: it goes on nearly as it would have")
    add("--cache", type=Path, help="folder of prepared healthy inputs; made from the data")
    add("--output", type=Path, help="checkpoint and learning curve")
    add("--seconds", type=float, default=math.inf)
    add("--last", type=float, default=math.inf, help="step to stop before")
    add("--bundle", default="residual", help="whose denoiser reconstructs")
    add("--reconstructed", type=int, default=Settings.reconstructed, help="every how many-th batch")
    add("--no-false-findings", action="store_true", help="they count as any healthy place in the loss")
    add("--learning-rate", type=float, default=Settings.learning_rate, help="after its warm-up (default: %(default)s)")
    add("--cool-down", type=int, nargs=2, metavar=("STEP", "STEPS"), default=None)
    add("--cool-down-seconds", type=float, default=0.0, help="the last of --seconds: the rate falls to zero")
    add("--contrast", choices=CONTRASTS, help="the only one that is trained; all of them when not given")
    add("--seed", type=int, default=Settings.seed, help="of the batches; another one for weights that tell no step")
    add("--threads", type=int, default=1)
    add("--device", default="cpu")
    add("--workers", type=int, default=0, help="processes that make batches; without any, the device makes them")
    options = parser.parse_args()
    if options.cool_down_seconds and options.seconds == math.inf:
        parser.error("--cool-down-seconds needs --seconds")
    return options


if __name__ == "__main__":
    main()
