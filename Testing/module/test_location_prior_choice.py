"""The choice of a location prior: which models have one, and what becomes of the wish."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from standin.qt_module import show_properties

from CondDiffusionUADLib.run.Bundles import FAST, FULL, readBundle

show_properties(sys.modules[__name__])
COUNTED = {"thresholds": [1.0, 2.0], "counts": [3.0, 1.0], "scans": 5, "smallest_ml": 0.05, "largest": [2.5]}


def bundle_with_prior(small_bundle: Path, folder: Path) -> Path:
    """A bundle that knows of T1 where healthy brains are often marked, and how many findings they have."""
    shutil.copytree(small_bundle, folder)
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    maps = {"T1": {"kind": "combined", "location_prior": "eJw="}, "T2": {"kind": "combined", "location_prior": ""}}
    metadata["conddiffusion_uad"]["anomaly_map"] = maps
    file.write_text(json.dumps(metadata))
    (folder / "configs" / "expected_findings.json").write_text(json.dumps({"T1": COUNTED, "T2": COUNTED}))
    return folder


def test_a_model_knows_it_for_some_contrasts_and_promises_nothing_without(small_bundle: Path, tmp_path: Path) -> None:
    bundle = readBundle(bundle_with_prior(small_bundle, tmp_path / "own"))
    assert bundle is not None and bundle.priors == ("T1",)
    assert not bundle.whyNoLocationPrior("T1") and not bundle.whyNoLocationPrior("")
    assert "own knows where healthy brains are often marked only for T1." in bundle.whyNoLocationPrior("T2")
    for contrast, quality, wanted, holds in (
        ("T1", FULL, True, True),
        ("T1", FULL, False, False),
        ("T1", FAST, True, False),
        ("T2", FULL, False, True),
    ):
        counted, promised = bundle.expectedWith(quality, contrast, wanted)
        assert counted is not None and (promised is counted) is holds, (contrast, quality, wanted)


def test_it_is_on_where_a_model_knows_it_and_the_wish_goes_into_the_run(
    scan: Any, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_desk: Callable[..., Desk]
) -> None:
    monkeypatch.setenv("CONDDIFFUSION_UAD_MODELS", str(tmp_path / "models"))
    bundle_with_prior(small_bundle, tmp_path / "models" / "own")
    desk = make_desk(enter=False)
    ui, box = desk.ui, desk.ui.locationPriorBox
    ui.bundleBox.currentIndex = ui.bundleBox.findData("own")
    ui.contrastBox.currentIndex = ui.contrastBox.findData("T1")
    assert box.enabled and box.checked and "often marked" in box.toolTip
    assert desk.panel._request()[1].job(Path("scan.nrrd"), Path("out")).location_prior
    box.click()
    assert not desk.panel._request()[1].job(Path("scan.nrrd"), Path("out")).location_prior
    assert not desk.panel._parameters.locationPrior and desk.panel.input.expected[1] is None
    ui.contrastBox.currentIndex = ui.contrastBox.findData("T2")
    assert (
        not box.enabled
        and "own knows where healthy brains are often marked only for T1." in box.toolTip
        and desk.panel.input.expected[1] is not None
    )
