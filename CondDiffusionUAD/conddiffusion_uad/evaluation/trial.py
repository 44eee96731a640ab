"""Evaluating one scan, in whichever process: change, prepare, reconstruct, score, measure, draw, keep.

A changed scan goes the whole way of a detection, from the file on. It is judged on the grid, inside the brain and
against the truth of the scan as it was: what a changed scan loses of the brain counts as not flagged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from conddiffusion_uad.detection.report import peak_memory_mb
from conddiffusion_uad.evaluation import record as records
from conddiffusion_uad.evaluation.data.cases import Examined
from conddiffusion_uad.evaluation.measure import Ground, latent_auroc
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.metrics.fidelity import fidelity, histogram_kl
from conddiffusion_uad.evaluation.protocols import published
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import gallery
from conddiffusion_uad.evaluation.result import Result, loaded, result_of, result_of_scan
from conddiffusion_uad.evaluation.settings import PUBLISHED, Rule, Settings, Trial
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.adversarial import WORST, worst_cases
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS, corrupt
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES, Changed, unmoved
from conddiffusion_uad.evaluation.shifts.implanted import IMPLANTED, Lesion, implant
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.geometry import is_thin
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.protocol.failures import BadInput

WORTH_A_NOTE = 0.01  # of the lesion outside the brain
Kept = tuple[Record, Mapping[str, np.ndarray] | None, Image.Image | None]


def evaluate(trial: Trial, settings: Settings, folder: Path) -> None:
    """Evaluate a scan and keep its record, and what else the protocol needs of it; a changed scan may be refused.

    Raises:
        Failure: The scan as it is, the bundle, the device, a map of other software or the folder cannot be used.
    """
    if trial.corruption == CLEAN:
        record, arrays, picture = _clean(trial, settings)
    else:
        change = {IMPLANTED: _implanted, WORST: _attacked}.get(trial.corruption, _shifted)
        record, arrays, picture = change(trial, settings), None, None
    with as_output_failure(folder):
        if picture:
            picture.save(records.file_of(folder, record.id, ".png"))
        records.save(folder, record, arrays)


def _clean(trial: Trial, settings: Settings) -> Kept:
    """The record of a scan as it is, its arrays and its picture."""
    result = result_of(trial.case, trial.bundle, settings)
    examined = result.examined
    made = result.made.restored.mean if result.made else None
    figures = _figures(result) if result.made else None
    about = _about(trial, result, settings, figures)
    if settings.protocol == PUBLISHED:
        return about, published.arrays(examined, made), None
    before = result if settings.changes else None
    record, arrays = _measured(about, examined, chain([result.first], result.others), before, settings)
    return record, arrays, gallery.draw(_views(result, settings.rule))


def _figures(result: Result) -> Mapping[str, float | None]:
    """How close the reconstruction is to the scan, voxel by voxel and slice by slice."""
    examined, made = result.examined, result.made
    truth = examined.truth_on_grid()
    close = fidelity(examined.volume, made.restored.mean, examined.mask, truth)
    return {**close, "latent_auroc": latent_auroc(made, truth)}


def _shifted(trial: Trial, settings: Settings) -> Record:
    """The record of a changed scan."""
    clean = result_of(trial.case, trial.bundle, settings)
    scan = volumes.read(trial.case.scan, thin=True)
    changed = _changed(scan, clean.examined.prepared.native_mask, trial, settings.seed)
    about = _identity(trial)
    same_voxels = np.array_equal(sitk.GetArrayViewFromImage(scan), sitk.GetArrayViewFromImage(changed.scan))
    if same_voxels and Grid.of(scan) == Grid.of(changed.scan):
        return replace(about, applies=False)
    try:
        result = result_of_scan(trial.case, trial.bundle, settings, changed.scan)
    except BadInput as failure:
        return replace(about, refused=failure.code)
    place = result.examined
    divergence = histogram_kl(place.volume, result.made.restored.mean, place.mask)
    about = _about(trial, result, settings, {"histogram_kl": divergence})
    reference, original = place.prepared.reference, Grid.of(scan)

    def back(values: np.ndarray) -> np.ndarray:
        return sitk.GetArrayFromImage(changed.back(reference.with_array(values), original))

    scored = (replace(each, raw=back(each.raw), score=back(each.score)) for each in (result.first, *result.others))
    return _measured(about, clean.examined, scored, clean, settings)[0]


def _implanted(trial: Trial, settings: Settings) -> Record:
    """The record of a healthy scan with lesions in it."""
    clean, about = result_of(trial.case, trial.bundle, settings), _identity(trial)
    scan, brain = volumes.read(trial.case.scan, thin=True), clean.examined.prepared.native_mask
    changed, implanted = implant(scan, brain, trial.case.contrast, trial.severity, settings.seed)
    if not implanted or is_thin(scan):  # a part of a ball would not have its size
        return replace(about, applies=False)
    try:
        result = result_of_scan(trial.case, trial.bundle, settings, changed)
    except BadInput as failure:
        return replace(about, refused=failure.code)
    examined = replace(clean.examined, native_truth=np.any([lesion.where for lesion in implanted], axis=0))
    scored = chain([result.first], result.others)
    return _measured(_about(trial, result, settings, None), examined, scored, clean, settings, implanted)[0]


def _attacked(trial: Trial, settings: Settings) -> Record:
    """The record of the changes of a scan that move residuals most."""
    examined = result_of(trial.case, trial.bundle, settings).examined
    bundle = loaded(settings.bundles[trial.bundle], settings.device, settings.precision)
    return replace(_identity(trial), attacks=list(worst_cases(bundle, examined, settings.seed)))


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
    about: Record,
    examined: Examined,
    scored: Iterable[Scored],
    clean: Result | None,
    settings: Settings,
    implanted: Sequence[Lesion] = (),
) -> tuple[Record, Mapping[str, np.ndarray]]:
    """A record with what each method did, compared with the scan as it is where scans are changed; and its counts."""
    ground = Ground.of(examined, settings.rule)
    former = {each.name: each for each in (clean.first, *clean.others)} if clean else {}
    found, counts = {}, {}
    for each in scored:
        found[each.name], counts[each.name] = ground.measure(each, former.get(each.name), implanted)
    brain, lesion = ground.brain.sum(), ground.truth.sum()
    record = replace(
        about,
        voxel_ml=ground.voxel_ml,
        brain_ml=float(brain * ground.voxel_ml),
        lesion_ml=float(lesion * ground.voxel_ml),
        prevalence=float(lesion / max(brain, 1)),
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
    ground = Ground.of(examined, rule)
    areas = (ground.findings(first), ground.truth, ground.brain)
    arrays = (examined.native_intensity(examined.volume), estimate, first.score, *areas)
    place = examined.prepared.reference
    turned = [
        None if array is None else sitk.GetArrayFromImage(orient(place.with_array(array.astype(np.float32))).image)
        for array in arrays
    ]
    spacing = examined.prepared.way.oriented.image.GetSpacing()[::-1]
    return gallery.Views(*turned[:3], *(array > 0 for array in turned[3:]), spacing)
