"""A copy of a bundle that differs in its method, with weights and calibration as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle import weights
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol.failures import BadInput


def copy_with(
    bundle: Bundle,
    method: Method,
    output: Path,
    told: Mapping[str, Any],
    *,
    model: ConditionedDiffusion | None = None,
) -> None:
    """Write the copy and seal it.

    Args:
        bundle: To copy.
        method: Of the copy.
        output: Its folder; what is there is replaced.
        told: Further fields of its metadata.
        model: In the plain form, if the method has networks that the bundle does not have.

    Raises:
        BadInput: ``bad_option`` when the copy would take the place of the bundle, or of a folder that holds it.
    """
    if output.resolve() in (bundle.path.resolve(), *bundle.path.resolve().parents):
        raise BadInput("bad_option", f"--output cannot be {output}: the bundle is there.", "Give another folder.")
    if output.exists():
        shutil.rmtree(output)
    shutil.copytree(bundle.path, output)
    if model is not None:
        weights.save(output, model)
    config = replace(bundle.config, method=method)
    values = {**bundle.metadata, **told, "conddiffusion_uad": config.to_json()}
    (output / bundles.METADATA).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n")
    bundles.seal(output)
    bundles.load(str(output))  # only a bundle that can be loaded is one
