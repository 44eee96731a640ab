"""What comes out of a scan: prepared, reconstructed and scored by a bundle, the maps of the baselines beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.detection.pipeline import require_contrast
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.evaluation import methods
from conddiffusion_uad.evaluation.data.cases import Case, Examined, examine
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.settings import Settings
from conddiffusion_uad.method.run import Scored as BrainScored
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput


@dataclass(frozen=True)
class Result:
    """What comes out of a scan.

    Attributes:
        examined: The scan on the model's grid.
        made: What the bundle makes of it; None when maps of other software are judged.
        first: The map of what is judged, on the scan's own grid.
        others: The maps of the baselines there, each made when it is asked for: they are large.
        seconds: Of each part of the run.
        warnings: Codes of what the run warned of.
    """

    examined: Examined
    made: BrainScored | None
    first: Scored
    others: Iterable[Scored]
    seconds: Mapping[str, float]
    warnings: list[str]


def result_of(case: Case, bundle: int, settings: Settings) -> Result:
    """What comes out of a scan as it is; it is kept where scans are changed."""
    result = _kept_result(case, bundle, settings) if settings.changes else _run(case, bundle, settings)
    if isinstance(result, BadInput):
        raise result
    return result


@lru_cache(maxsize=1)
def _kept_result(case: Case, bundle: int, settings: Settings) -> Result | BadInput:
    """What comes out of a scan as it is, kept for all its changes; or why it cannot be used."""
    try:
        result = _run(case, bundle, settings)
        return replace(result, others=list(result.others))
    except BadInput as failure:
        return failure


def result_of_scan(case: Case, bundle: int, settings: Settings, scan: sitk.Image) -> Result:
    """Send a changed scan the way of a detection, from a file on. Raises Failure."""
    with tempfile.TemporaryDirectory() as private:
        file = Path(private) / "scan.mha"
        sitk.WriteImage(scan, str(file))
        return _run(replace(case, scan=file, truth=None), bundle, settings)


def _run(case: Case, number: int, settings: Settings) -> Result:
    begin = time.perf_counter()
    bundle = loaded(settings.bundles[number], settings.device, settings.precision)
    require_contrast(bundle, case.contrast)
    recorder = Recorder(Quiet())
    device = choose(settings.device)
    examined = examine(case, bundle.config.grid, skull=settings.skull, device=device, progress=recorder)
    prepared = time.perf_counter()
    made = None if settings.maps else methods.run_model(examined, bundle, settings.seed)
    first = (
        methods.model_map(examined, made, settings.rule.threshold_of(bundle, case.contrast))
        if made
        else methods.existing_map(examined, settings)
    )
    end = time.perf_counter()
    seconds = {"prepare": prepared - begin, "reconstruct": end - prepared, "total": end - begin}
    others = methods.baseline_maps(examined, bundle, settings)
    return Result(examined, made, first, others, seconds, [warning["code"] for warning in recorder.warnings])


@lru_cache(maxsize=1)
def loaded(name: str, device: str, precision: str) -> Bundle:
    """The bundle, loaded once in each process."""
    return bundles.load(name).to(choose(device), precision)
