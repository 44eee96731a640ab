"""What Slicer reads of a bundle's metadata is what the engine makes of it."""

from __future__ import annotations

import pytest

from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS
from conddiffusion_uad.method.uncertainty import LEAST_SAMPLES
from conddiffusion_uad.protocol.bundle_section import draws, location_priors, samples_for_uncertainty, timesteps
from conddiffusion_uad.training import recipe as recipes


@pytest.mark.parametrize("path", sorted(recipes.SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_the_samples_are_those_of_the_restorer(path) -> None:
    bundle = recipes.load(path.stem).bundle
    section = bundle.to_json()
    assert draws(section) * len(timesteps(section)) == bundle.method.restore.samples


@pytest.mark.parametrize("kind", ANOMALY_MAPS)
def test_the_least_samples_are_those_that_a_detection_asks_for(kind: str) -> None:
    least = 1 + getattr(ANOMALY_MAPS[kind], "least_samples", 1)
    assert samples_for_uncertainty(kind) == max(LEAST_SAMPLES, least)


def test_the_contrasts_with_a_location_prior_are_those_of_the_method() -> None:
    section = recipes.load("learned").bundle.to_json()
    assert location_priors(section) == ()
    section["anomaly_map"]["T2"]["location_prior"] = "eJw="
    assert location_priors(section) == ("T2",)
