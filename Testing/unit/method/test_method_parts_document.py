"""What docs/METHOD_PARTS.md shows runs as it stands there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conddiffusion_uad as uad
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method import anomaly_map, context, method, run
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.method import Method

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "METHOD_PARTS.md"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the document's examples define, run with a small brain."""
    for name in ("edges", "learned_example"):  # undone afterwards
        monkeypatch.setitem(anomaly_map.ANOMALY_MAPS, name, object)
    volume = np.random.default_rng(0).uniform(0.2, 0.9, (4, 96, 80)).astype(np.float32)
    grid = Grid((80, 96, 4), (2.0, 2.0, 2.0), (-79.0, -79.0, 0.0))
    names: dict[str, Any] = {"prepared": Volume(volume, np.ones(volume.shape, bool), grid), "__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S):
        exec(compile(block, str(DOCUMENT), "exec", dont_inherit=True), names)
    return names


def test_the_examples_do_what_they_say(shown: dict[str, Any], tmp_path: Path) -> None:
    assert shown["scored"].anomaly_map.shape == (4, 96, 80) and shown["scored"].anomaly_map.max() > 0
    with pytest.raises(ValueError, match="power"):
        shown["Edges"](power=9)

    loaded = uad.load_bundle("residual")
    changed = Method.from_json({**loaded.method.to_json(), "anomaly_map": {"T2": {"kind": "learned_example"}}})
    config = replace(loaded.config, method=changed)
    model = config.build()
    bundles.save(tmp_path / "new", config, model)
    scored = uad.score(uad.load_bundle(str(tmp_path / "new")).to("cpu"), shown["prepared"], "T2", timesteps=[100])
    assert scored.anomaly_map.shape == (4, 192, 160)


def test_the_table_names_all_kinds_of_parts() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"\(`([A-Z]+(?:_[A-Z]+)*)`\)", text))
    there = {name for name in vars(method) if name.isupper() and isinstance(getattr(method, name), dict)}
    assert named == there
    assert context.CONTEXTS is method.CONTEXTS and run.score is uad.score
