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
        output: Its folder; what is there is replaced.
        model: In the plain form, if the method has networks that the bundle does not have.

    Raises:
        BadInput: See :func:`require_apart`.
    """
    require_apart(bundle, output)
    if output.exists():
        shutil.rmtree(output.resolve())
    shutil.copytree(bundle.path, output)
    if model is not None:
        weights.save(output, model)
    config = replace(bundle.config, method=method)
    values = {**bundle.metadata, **told, "conddiffusion_uad": config.to_json()}
    (output / bundles.METADATA).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n")
    bundles.seal(output)
    bundles.load(str(output))  # only a bundle that can be loaded is one


def require_apart(bundle: Bundle, output: Path) -> None:
    """Check where a copy is to be made; call it before the work whose result it is.

    Raises:
        BadInput: ``bad_option`` when the copy would take the place of the bundle, of a folder that holds it, or of
            anything that is no bundle, or would lie within the bundle.
    """
    own, there = bundle.path.resolve(), output.resolve()
    if there == own or there in own.parents:
        raise BadInput("bad_option", f"--output cannot be {output}: the bundle is there.", "Give another folder.")
    if own in there.parents:
        message = f"--output cannot be {output}: that lies in the bundle itself."
        raise BadInput("bad_option", message, "Give a folder outside of it.")
    empty = there.is_dir() and not any(there.iterdir())
    if there.exists() and not empty and not (there / bundles.METADATA).is_file():
        message = f"--output cannot be {output}: what is there is no bundle, and would be removed."
        raise BadInput("bad_option", message, "Give another folder.")
