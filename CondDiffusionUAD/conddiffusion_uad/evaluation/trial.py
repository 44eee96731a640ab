"""Evaluating one scan, in whichever process: change, prepare, reconstruct, score, measure, draw, keep.

A changed scan goes the whole way of a detection, from the file on. It is judged on the grid, inside the brain and
against the truth of the scan as it was: what a changed scan loses of the brain counts as not flagged.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.detection.pipeline import require_contrast
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.detection.report import peak_memory_mb
from conddiffusion_uad.evaluation import methods
from conddiffusion_uad.evaluation import record as records
from conddiffusion_uad.evaluation.data.cases import Case, Examined, examine
from conddiffusion_uad.evaluation.measure import compared, measure, volume_ml
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.metrics.fidelity import fidelity, histogram_kl
from conddiffusion_uad.evaluation.metrics.lesions import finding_mask
from conddiffusion_uad.evaluation.protocols import published
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import gallery
from conddiffusion_uad.evaluation.settings import PUBLISHED, Rule, Settings, Trial
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS, corrupt
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES, Changed, unmoved
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.geometry import is_thin
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.run import Scored as BrainScored
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput

WORTH_A_NOTE = 0.01  # of the lesion outside the brain
Kept = tuple[Record, Mapping[str, np.ndarray] | None, Image.Image | None]


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


def evaluate(trial: Trial, settings: Settings, folder: Path) -> None:
    """Evaluate a scan and keep its record, and what else the protocol needs of it; a changed scan may be refused.

    Args:
        trial: Which scan, and how it is changed.
        settings: How.
        folder: Of the evaluation.

    Raises:
        Failure: The scan as it is, the bundle, the device, a map of other software or the folder cannot be used.
    """
    made = _clean(trial, settings) if trial.corruption == CLEAN else (_shifted(trial, settings), None, None)
    record, arrays, picture = made
    with as_output_failure(folder):
        if picture:
            picture.save(records.file_of(folder, record.id, ".png"))
        records.save(folder, record, arrays)


def _clean(trial: Trial, settings: Settings) -> Kept:
    """The record of a scan as it is, its arrays and its picture."""
    result = _result_of(trial.case, trial.bundle, settings)
    examined = result.examined
    made = result.made.restored.mean if result.made else None
    figures = None if made is None else fidelity(examined.volume, made, examined.mask, examined.truth_on_grid())
    about = _about(trial, result, settings, figures)
    if settings.protocol == PUBLISHED:
        return about, published.arrays(examined, made), None
    before = result if settings.shifts else None
    record, arrays = _measured(about, examined, chain([result.first], result.others), before, settings)
    return record, arrays, gallery.draw(_views(result, settings.rule))


def _shifted(trial: Trial, settings: Settings) -> Record:
    """The record of a changed scan."""
    clean = _result_of(trial.case, trial.bundle, settings)
    scan = volumes.read(trial.case.scan, thin=True)
    changed = _changed(scan, clean.examined.prepared.native_mask, trial, settings.seed)
    about = _identity(trial)
    same_voxels = np.array_equal(sitk.GetArrayViewFromImage(scan), sitk.GetArrayViewFromImage(changed.scan))
    if same_voxels and Grid.of(scan) == Grid.of(changed.scan):
        return replace(about, applies=False)
    try:
        result = _result_of_scan(trial.case, trial.bundle, settings, changed.scan)
    except BadInput as failure:
        return replace(about, refused=failure.code)
    place = result.examined
    divergence = histogram_kl(place.volume, result.made.restored.mean, place.mask)
    about = _about(trial, result, settings, {"histogram_kl": divergence})
    reference, original = place.prepared.reference, Grid.of(scan)

    def back(values: np.ndarray) -> np.ndarray:
        return sitk.GetArrayFromImage(changed.back(reference.with_array(values), original))

    scored = (Scored(each.name, back(each.raw), back(each.score)) for each in (result.first, *result.others))
    return _measured(about, clean.examined, scored, clean, settings)[0]


def _result_of(case: Case, bundle: int, settings: Settings) -> Result:
    """What comes out of a scan as it is; it is kept where scans are changed."""
    result = _kept_result(case, bundle, settings) if settings.shifts else _run(case, bundle, settings)
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


def _result_of_scan(case: Case, bundle: int, settings: Settings, scan: sitk.Image) -> Result:
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
        methods.model_map(examined, made)
        if made
        else methods.existing_map(settings.maps, examined, settings.maps_threshold)
    )
    end = time.perf_counter()
    seconds = {"prepare": prepared - begin, "reconstruct": end - prepared, "total": end - begin}
    others = methods.baseline_maps(examined, bundle, settings)
    return Result(examined, made, first, others, seconds, [warning["code"] for warning in recorder.warnings])


@lru_cache(maxsize=1)
def loaded(name: str, device: str, precision: str) -> Bundle:
    """The bundle, loaded once in each process."""
    return bundles.load(name).to(choose(device), precision)


def _changed(scan: sitk.Image, brain: sitk.Image, trial: Trial, seed: int) -> Changed:
    if trial.corruption in CORRUPTIONS:
        return unmoved(corrupt(scan, brain, trial.corruption, trial.severity, seed))
    return GEOMETRIC_CHANGES[trial.corruption](scan, brain)


def _identity(trial: Trial) -> Record:
    """Whose scan it is and how it was changed."""
    case = trial.case
    return Record(
        id=trial.id,
        case=case.id,
        patient=case.patient,
        dataset=case.dataset,
        contrast=case.contrast,
        labeled=case.truth is not None,
        corruption=trial.corruption,
        severity=trial.severity,
        bundle=trial.bundle,
    )


def _about(trial: Trial, result: Result, settings: Settings, figures: Mapping[str, float | None] | None) -> Record:
    """All of a record but what the methods did."""
    computed = {"device": str(choose(settings.device)), "precision": settings.precision} if result.made else {}
    return replace(
        _identity(trial),
        thin=is_thin(result.examined.prepared.way.source),
        warnings=result.warnings,
        reconstruction=figures,
        seconds=result.seconds,
        peak_memory_mb=peak_memory_mb(),
        notes=_notes(result.examined),
        **computed,
    )


def _measured(
    about: Record, examined: Examined, scored: Iterable[Scored], clean: Result | None, settings: Settings
) -> tuple[Record, Mapping[str, np.ndarray]]:
    """A record with what each method did, compared with the scan as it is where scans are changed; and its counts."""
    rule, brain, spacing = settings.rule, examined.native_mask, examined.spacing
    truth = examined.native_truth & brain
    former = {each.name: each for each in (clean.first, *clean.others)} if clean else {}
    found, counts = {}, {}
    for each in scored:
        figures, counts[each.name] = measure(each, brain, truth, spacing, rule)
        before = former.get(each.name)
        found[each.name] = compared(figures, each, before, brain, spacing, rule) if before else figures
    voxel_ml = volume_ml(spacing)
    record = replace(
        about,
        voxel_ml=voxel_ml,
        brain_ml=float(brain.sum() * voxel_ml),
        lesion_ml=float(truth.sum() * voxel_ml),
        prevalence=float(truth.sum() / max(brain.sum(), 1)),
        methods=found,
    )
    return record, records.count_arrays(counts)


def _notes(examined: Examined) -> list[str]:
    notes = []
    truth = examined.native_truth
    outside = (truth & ~examined.native_mask).sum() / max(truth.sum(), 1)
    if outside > WORTH_A_NOTE:
        notes.append(f"{outside:.0%} of the lesion lie outside the brain mask and are not judged.")
    if not examined.prepared.registration.ok:
        notes.append(f"The brain fits the atlas poorly (overlap {examined.prepared.registration.quality:.2f}).")
    return notes


def _views(result: Result, rule: Rule) -> gallery.Views:
    """What is drawn of a scan, its axes turned to L, P, S."""
    examined, first = result.examined, result.first
    estimate = examined.native_intensity(result.made.restored.mean) if result.made else None
    findings = finding_mask(first.score, rule.threshold, examined.spacing, rule.min_volume_ml)
    truth = examined.native_truth & examined.native_mask
    arrays = (examined.native_intensity(examined.volume), estimate, first.score, findings, truth, examined.native_mask)
    place = examined.prepared.reference
    turned = [
        None if array is None else sitk.GetArrayFromImage(orient(place.with_array(array.astype(np.float32))).image)
        for array in arrays
    ]
    spacing = examined.prepared.way.oriented.image.GetSpacing()[::-1]
    return gallery.Views(*turned[:3], *(array > 0 for array in turned[3:]), spacing)
