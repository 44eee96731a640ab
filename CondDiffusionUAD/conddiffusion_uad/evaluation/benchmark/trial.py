"""A process that reconstructs one made-up brain each time it is asked to, in one variant.

It runs as a script with the package of another checkout, too, and so uses only what all of them have. Its argument is
the variant as JSON; on each line of stdin it answers with the seconds and the file of the result.
"""

from __future__ import annotations

import inspect
import json
import sys
import time

import numpy as np
import torch


def made_up_brain(size: tuple[int, int, int], slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random intensities in an ellipsoid, and the ellipsoid (z, y, x)."""
    columns, rows, _ = size
    z, y, x = np.indices((slices, rows, columns)) / np.array([slices, rows, columns]).reshape(3, 1, 1, 1) * 2 - 1
    mask = (0.5 * z) ** 2 + y**2 + x**2 < 0.9
    texture = sum(np.sin(k * (5 * x + 3 * y + 2 * z) + k) * np.cos(k * (4 * y - 3 * x)) / k for k in range(1, 8))
    return np.where(mask, 0.5 + 0.15 * texture, 0).astype(np.float32), mask


def main() -> None:
    """Serve until stdin ends."""
    from conddiffusion_uad.bundle import bundle as bundles
    from conddiffusion_uad.method.brain import Volume
    from conddiffusion_uad.method.run import restore
    from conddiffusion_uad.model.device import choose

    variant = json.loads(sys.argv[1])
    device = choose(variant["device"])
    bundle = bundles.load(variant["bundle"])
    knows_precision = "precision" in inspect.signature(bundle.to).parameters
    bundle = bundle.to(device, variant["precision"]) if knows_precision else bundle.to(device)
    volume, mask = made_up_brain(bundle.config.grid.size, variant["slices"])
    for _ in sys.stdin:
        wall, busy = time.perf_counter(), time.process_time()
        result = restore(bundle, Volume(volume, mask), bundle.config.contrasts[0]).mean
        passed = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - busy}
        np.save(variant["result"], result)
        print(json.dumps({**passed, "threads": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
