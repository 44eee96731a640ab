from pathlib import Path

import numpy as np
from compare import pad_to
from healthy_map import divided, healthy_map

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.training.data.corpus import Part, Scan
from conddiffusion_uad.training.data.crop import crop_to
from conddiffusion_uad.training.recipe import Source


def test_usual_residuals_are_large_where_healthy_scans_have_them(small_bundle: Path) -> None:
    bundle = bundles.load(str(small_bundle))
    shape = bundle.config.grid.size[::-1]
    mask = np.zeros(shape, bool)
    mask[10:38, 10:46, 10:38] = True
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(shape[2]) < 24, 0.3, 0.02)  # one half of the brain varies
    volume = np.where(mask, np.clip(0.5 + spread * rng.standard_normal(shape), 0, 1), 0).astype(np.float16)
    scan = Scan("a", "T1", volume, mask, None)
    source = Part(Source("scans", "*", 1.0, 1, "T1"), [], [scan])
    usual = healthy_map(bundle, [source], "T1")
    assert usual.shape == shape
    assert usual[24, 28, 14] > 1 > usual[24, 28, 34]
    assert usual[~mask].min() == usual[~mask].max() == 1
    assert divided(np.ones(shape), usual)[24, 28, 14] < 1


def test_a_map_is_continued_on_an_enlarged_grid() -> None:
    grid, wanted = Grid((2, 3, 4), (2.0,) * 3, (0.0, 0.0, 0.0)), Grid((4, 3, 5), (2.0,) * 3, (-2.0, 0.0, 0.0))
    values = np.arange(24.0).reshape(4, 3, 2)
    enlarged = pad_to(values, grid, wanted)
    assert enlarged.shape == (5, 3, 4)
    assert np.array_equal(enlarged[:4, :, 1:3], values)
    assert np.array_equal(crop_to(enlarged, wanted, grid), values)
    assert enlarged[4, 0, 0] == values[3, 0, 0]
