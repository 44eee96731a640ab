"""Switching the location prior off, from the command line to the maps and the report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from conddiffusion_uad.app import cli
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.detection import pipeline
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.protocol.failures import BadInput


@dataclass(frozen=True)
class Lowered(Residual):
    """A map with a location prior."""

    location_prior: str = ""


@pytest.mark.parametrize(("options", "lowered"), [([], True), (["--no-location-prior"], False)])
def test_the_command_line_decides_whether_the_map_is_lowered(
    options: list[str],
    lowered: bool,
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = bundles.load(str(small_bundle))
    part = Lowered(sign="absolute", location_prior="known")
    method = replace(loaded.method, anomaly_map={"T1": part})
    bundle = replace(loaded, config=replace(loaded.config, method=method))
    seen: list[Any] = []

    def detect(scan: Any, given: Any, contrast: str, **others: Any) -> None:
        seen.append(given)
        raise BadInput("not_a_scan", "Enough.", "")

    monkeypatch.setattr("conddiffusion_uad.app.detection_job.Models.get", lambda *_arguments: bundle)
    monkeypatch.setattr(pipeline, "detect", detect)
    cli.main(["detect", str(scan_file), "--output", str(tmp_path / "out"), "--contrast", "T1", *options])
    assert [given.method.anomaly_map["T1"].location_prior for given in seen] == ["known" if lowered else ""]
    assert [given.as_calibrated for given in seen] == [lowered]
