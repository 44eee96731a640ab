"""A process that reconstructs one synthetic brain each time it is asked to, in one variant; see `compare_speed.py`.

It runs with the package of another checkout, too, if that has `method.run.restore`, and uses only what all of these
have. Its argument is the variant as JSON; on each line of stdin it answers with the seconds and writes the result to a
file.
"""

from __future__ import annotations

import inspect
import json
import runpy
import sys
import time

import numpy as np
import torch


def main() -> None:
    """Serve until stdin ends."""
    from conddiffusion_uad.bundle import bundle as bundles
    from conddiffusion_uad.method.brain import Volume
    from conddiffusion_uad.method.run import restore
    from conddiffusion_uad.model.device import choose

    variant = json.loads(sys.argv[1])
    synthetic_brain = runpy.run_path(variant["brain"])["synthetic_brain"]
    device = choose(variant["device"])
    bundle = bundles.load(variant["bundle"])
    knows_precision = "precision" in inspect.signature(bundle.to).parameters
    bundle = bundle.to(device, variant["precision"]) if knows_precision else bundle.to(device)
    volume, mask = synthetic_brain(bundle.config.grid.size, variant["slices"])
    for _ in sys.stdin:
        wall, busy = time.perf_counter(), time.process_time()
        result = restore(bundle, Volume(volume, mask), bundle.config.contrasts[0]).mean
        passed = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - busy}
        np.save(variant["result"], result)
        print(json.dumps({**passed, "threads": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
