"""A bundle without its location prior."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tiny_model import tiny_config

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.location_priors import without_prior
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.combined import Combined
from conddiffusion_uad.method.anomaly_map.location_prior import LocationPrior


def test_a_location_prior_can_be_left_out(tmp_path: Path) -> None:
    """Of a contrast that has one; then its map is another than the one that was calibrated."""
    known = LocationPrior(np.full((40, 48, 20), 7, np.uint8)).to_text()
    maps = {
        name: Combined(residual={"sign": "absolute"}, location_prior=text)
        for name, text in {"T1": known, "T2": ""}.items()
    }
    config = replace(tiny_config(anomaly_map=maps), grid=Grid((32, 32, 4), (2.0, 2.0, 2.0), (-31.0, -15.0, 0.0)))
    bundles.save(tmp_path, config, config.build())
    bundle = bundles.load(str(tmp_path))
    assert bundle.method.anomaly_map["T1"].location_prior == known and bundle.as_calibrated
    assert without_prior(bundle, "T2") is bundle, "where there is none, all stays as it was calibrated"
    without = without_prior(bundle, "T1")
    assert without.method.anomaly_map == {name: replace(part, location_prior="") for name, part in maps.items()}
    assert not without.as_calibrated and bundle.method.anomaly_map["T1"].location_prior == known
    assert without_prior(without, "T1") is without
