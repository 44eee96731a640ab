"""Evaluating one case, in whichever process: prepare, reconstruct, score, measure, draw, keep."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.detection.pipeline import require_contrast
from conddiffusion_uad.detection.report import peak_memory_mb
from conddiffusion_uad.evaluation import methods, record
from conddiffusion_uad.evaluation.cases import Case, Examined, examine
from conddiffusion_uad.evaluation.measure import Circumstances, Rule, measure
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.metrics.fidelity import fidelity
from conddiffusion_uad.evaluation.metrics.lesions import finding_mask
from conddiffusion_uad.evaluation.reporting import gallery
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.method.run import score
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.preprocessing.orientation import orient

WORTH_A_NOTE = 0.01  # of the lesion outside the brain
PROTOCOL = "native"
"""Native grid, a threshold that no label has chosen; not to be mixed with the published protocol."""


@dataclass(frozen=True)
class Settings:
    """How cases are evaluated. Everything that changes a figure is here.

    Attributes:
        bundle: Name or folder.
        baselines: Names of what is compared with the model.
        rule: When a voxel belongs to a finding.
        maps: Folder with the maps of other software, which then take the model's place; None runs the model.
        maps_threshold: The value of such a map from which on a voxel is flagged; None ranks it in its own brain.
        device: That computes.
        skull: "auto", "on" or "off".
        seed: Of the noise.
    """

    bundle: str = "default"
    baselines: tuple[str, ...] = ()
    rule: Rule = field(default_factory=Rule)
    maps: Path | None = None
    maps_threshold: float | None = None
    device: str = "auto"
    skull: str = "auto"
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """What decides the figures; where the bundle and the maps lie, and what computes, does not.

        Raises:
            BundleFailure: The bundle is missing or damaged.
        """
        options = {**vars(self), **asdict(self.rule), "maps": self.maps is not None}
        for name in ("bundle", "rule", "device"):
            del options[name]
        return {"protocol": PROTOCOL, "bundle": identity(self.bundle), "options": options}


def identity(bundle: str) -> dict[str, str]:
    """Name and hash of a bundle. Raises BundleFailure when it is missing or damaged."""
    place = bundles.locate(bundle)
    return {"name": place.name, "sha256": bundles.digest(place)}


@lru_cache(maxsize=1)
def loaded(name: str, device: str) -> Bundle:
    """The bundle, loaded once in each process."""
    return bundles.load(name).to(choose(device))


def evaluate_case(case: Case, settings: Settings, folder: Path) -> None:
    """Evaluate a case and keep its record, counts and picture.

    Args:
        case: Which.
        settings: How.
        folder: Of the evaluation.

    Raises:
        Failure: The scan, the bundle, the device, the map of other software or the folder cannot be used.
    """
    begin = time.perf_counter()
    bundle = loaded(settings.bundle, settings.device)
    require_contrast(bundle, case.contrast)
    examined = examine(case, bundle.config.grid, skull=settings.skull, device=choose(settings.device))
    prepared = time.perf_counter()
    first, figures, estimate = _main_method(examined, bundle, settings)
    seconds = {"prepare": prepared - begin, "reconstruct": time.perf_counter() - prepared}
    seconds["total"] = sum(seconds.values())
    circumstances = Circumstances(figures, seconds, peak_memory_mb(), _notes(examined))
    found, counts = measure(examined, _all(first, examined, bundle, settings), settings.rule, circumstances)
    picture = gallery.draw(_views(examined, first, estimate, settings.rule))
    with as_output_failure(folder):
        picture.save(record.picture_file(folder, case.id))
        record.save(folder, found, counts)


def _main_method(
    examined: Examined, bundle: Bundle, settings: Settings
) -> tuple[Scored, Mapping[str, float | None] | None, np.ndarray | None]:
    """What is under test, the figures of its reconstruction, and this reconstruction in the scan's units."""
    if settings.maps is not None:
        return methods.existing_map(settings.maps, examined, settings.maps_threshold), None, None
    scored = score(bundle, examined.brain, examined.case.contrast, seed=settings.seed)
    estimate = scored.restored.mean
    figures = asdict(fidelity(examined.volume, estimate, examined.mask, truth_on_grid(examined)))
    return methods.model_map(examined, scored), figures, examined.native_intensity(estimate)


def _all(first: Scored, examined: Examined, bundle: Bundle, settings: Settings) -> Iterator[Scored]:
    yield first
    yield from methods.other_maps(examined, bundle, settings.baselines, settings.seed)


def truth_on_grid(examined: Examined) -> np.ndarray:
    """The lesion on the model's grid, boolean (z, y, x), by the nearest voxel."""
    if examined.prepared is None:
        return np.repeat(examined.native_truth, len(examined.volume), axis=0)
    truth = examined.prepared.reference.with_array(examined.native_truth.astype(np.uint8))
    to_atlas = examined.prepared.registration.to_atlas
    return sitk.GetArrayFromImage(sitk.Resample(truth, examined.grid.blank(), to_atlas, sitk.sitkNearestNeighbor)) > 0


def _notes(examined: Examined) -> list[str]:
    notes = []
    truth = examined.native_truth
    outside = (truth & ~examined.native_mask).sum() / max(truth.sum(), 1)
    if outside > WORTH_A_NOTE:
        notes.append(f"{outside:.0%} of the lesion lie outside the brain mask and are not judged.")
    if examined.prepared is not None and not examined.prepared.registration.ok:
        notes.append(f"The brain fits the atlas poorly (overlap {examined.prepared.registration.quality:.2f}).")
    return notes


def _views(examined: Examined, first: Scored, estimate: np.ndarray | None, rule: Rule) -> gallery.Views:
    """What is drawn of a case, its axes turned to L, P, S."""
    scan = examined.native_intensity(examined.volume)
    findings = finding_mask(first.score, rule.threshold, examined.spacing, rule.min_volume_ml)
    truth = examined.native_truth & examined.native_mask
    arrays = (scan, estimate, first.score, findings, truth, examined.native_mask)
    turned = [None if array is None else _turned(examined, array) for array in arrays]
    spacing = examined.spacing
    if examined.prepared is not None:
        spacing = examined.prepared.way.oriented.image.GetSpacing()[::-1]
    return gallery.Views(*turned[:3], *(array > 0 for array in turned[3:]), spacing)


def _turned(examined: Examined, array: np.ndarray) -> np.ndarray:
    if examined.prepared is None:
        return array
    image = examined.prepared.reference.with_array(array.astype(np.float32))
    return sitk.GetArrayFromImage(orient(image).image)
