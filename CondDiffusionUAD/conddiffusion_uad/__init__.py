"""Unsupervised anomaly detection in brain MRI with a conditioned diffusion model.

Research use only, not a medical device.

Find what does not look healthy in a scan::

    import conddiffusion_uad as uad

    bundle = uad.load_bundle("learned").to("cpu")
    found = uad.detect(uad.read("scan_T2.nii.gz"), bundle, "T2")
    for finding in found.findings:
        print(finding.number, finding.volume_ml, finding.peak_score)

The images of a `Detection` are SimpleITK's, on the scan's own grid. `score` is the part of `detect` that calls the
networks, for brains that are prepared already. All that fails for a reason that a person can do something about raises
a `conddiffusion_uad.protocol.failures.Failure` with a code, a message and a hint.

The import of this module takes no time: each name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conddiffusion_uad.bundle.bundle import load as load_bundle
    from conddiffusion_uad.detection.pipeline import Detection, detect
    from conddiffusion_uad.io.volume import read
    from conddiffusion_uad.method.run import score

__version__ = "0.1.0"

__all__ = ["Detection", "__version__", "detect", "load_bundle", "read", "score"]

_PLACES = {
    "Detection": ("detection.pipeline", "Detection"),
    "detect": ("detection.pipeline", "detect"),
    "load_bundle": ("bundle.bundle", "load"),
    "read": ("io.volume", "read"),
    "score": ("method.run", "score"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
