"""What is told of an evaluation: figures of many scans, tables, plots and pictures."""

from __future__ import annotations

from conddiffusion_uad.protocol.failures import Failure


def missing(library: str) -> Failure:
    """The failure that tells what the report needs besides the engine."""
    hint = "pip install 'conddiffusion-uad[evaluation]'"
    return Failure(f"no_{library.lower()}", f"The report needs {library}, which is not installed.", hint)
