"""The curve over slices is one minus the cosine of what the encoder says of scan and reconstruction."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from restoring import Told
from tiny_model import tiny_method

from conddiffusion_uad.detection import report
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.measures.latent_dissimilarity import LatentDissimilarity
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.slices import Slices

GRID = Grid((16, 16, 20), (8.0, 8.0, 4.0), (-60.0, -60.0, -30.0))


def scan(grid: Grid | None = GRID) -> Restored:
    healthy = np.random.default_rng(0).uniform(0.3, 0.6, (20, 16, 16)).astype(np.float32)
    mask = np.ones(healthy.shape, bool)
    mask[0] = False
    mask[1, :, 3:] = False  # 48 voxels: too few
    volume = healthy.copy()
    volume[12, 4:9, 4:9] = 1
    return Restored(Volume(volume * mask, mask, grid), "T2", (healthy * mask)[None], 16)


def test_only_the_slice_that_differs_is_dissimilar() -> None:
    model, restored = Told.of(tiny_method()), scan()
    found = LatentDissimilarity()(restored, model)
    heights, values = found["latent_dissimilarity_mm"], found["latent_dissimilarity_slices"]
    assert heights == [-30 + 4 * z for z in range(2, 20)]
    differs = heights.index(-30 + 4 * 12)
    with torch.no_grad():
        seen = [model.encoder(Slices.of(torch.from_numpy(v[12:13, None]))) for v in (restored.volume, restored.mean)]
    expected = 1 - float((seen[0] * seen[1]).sum() / seen[0].norm() / seen[1].norm())
    assert values[differs] == pytest.approx(expected, abs=1e-5) and values[differs] > 1e-4
    assert max(value for z, value in enumerate(values) if z != differs) < 1e-5
    assert found["latent_dissimilarity"] == values[differs]


def test_without_a_grid_slices_are_numbered_and_without_brain_there_are_none() -> None:
    model = Told.of(tiny_method())
    assert LatentDissimilarity()(scan(None), model)["latent_dissimilarity_mm"] == list(range(2, 20))
    empty = Restored(
        Volume(np.zeros((4, 16, 16), np.float32), np.zeros((4, 16, 16), bool)), "T2", np.zeros((1, 4, 16, 16)), 16
    )
    assert LatentDissimilarity()(empty, model)["latent_dissimilarity"] == 0


def test_without_an_encoder_it_is_refused() -> None:
    with pytest.raises(ValueError, match="this condition has none"):
        tiny_method(condition=Unconditional(), measures=(LatentDissimilarity(),))
    assert tiny_method(measures=(LatentDissimilarity(),)).measures


def test_the_report_takes_the_curve() -> None:
    schema = json.loads((Path(report.__file__).parent / "report.schema.json").read_text("utf-8"))
    found = LatentDissimilarity()(scan(), Told.of(tiny_method()))
    jsonschema.validate(dict(found), schema["properties"]["measures"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"curve": ["high"]}, schema["properties"]["measures"])
