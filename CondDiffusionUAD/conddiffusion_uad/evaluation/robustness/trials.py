"""How the figures of a scan change when it is acquired badly, or stored in another way.

Each changed scan goes the whole way of a detection, from the file on. It is judged on the grid, inside the brain and
against the truth of the scan as it was: what a changed scan loses of the brain counts as not flagged.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.detection.pipeline import require_contrast
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.evaluation import experiment, methods
from conddiffusion_uad.evaluation.case_run import Settings, loaded
from conddiffusion_uad.evaluation.cases import Case, Examined, examine
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.metrics.fidelity import histogram_kl
from conddiffusion_uad.evaluation.metrics.lesions import finding_mask
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.evaluation.metrics.voxels import dice
from conddiffusion_uad.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from conddiffusion_uad.evaluation.robustness.geometric_changes import GEOMETRIC_CHANGES, Changed, unmoved
from conddiffusion_uad.evaluation.robustness.record import CLEAN, Figures, Trial, load, save, trial_file
from conddiffusion_uad.evaluation.tasks import Show, Task, run_tasks
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.run import score
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput

PROTOCOL = "robustness"
CHANGES = (*CORRUPTIONS, *GEOMETRIC_CHANGES)


@dataclass(frozen=True)
class RobustnessSettings(Settings):
    """How scans are evaluated, and how they are changed; maps of other software have no place here.

    Attributes:
        baselines: Names of what is compared with the model.
        changes: Names out of `CORRUPTIONS` and `GEOMETRIC_CHANGES`.
        severities: Of the corruptions, out of `SEVERITIES`.
    """

    baselines: tuple[str, ...] = ("equalized intensity",)
    changes: tuple[str, ...] = CHANGES
    severities: tuple[int, ...] = SEVERITIES

    def __post_init__(self) -> None:
        """Raises BadInput("bad_option")."""
        for chosen, known in ((self.changes, CHANGES), (self.severities, SEVERITIES)):
            for wrong in (each for each in chosen if each not in known):
                accepted = ", ".join(map(str, known))
                raise BadInput("bad_option", f"There is no change or severity {wrong!r}.", f"Accepted: {accepted}.")

    def panel(self) -> list[tuple[str, int]]:
        """Each change with each of its severities; the first is the scan as it is."""
        degrees = [(name, severity) for name in self.changes if name in CORRUPTIONS for severity in self.severities]
        return [(CLEAN, 0), *degrees, *((name, 0) for name in self.changes if name in GEOMETRIC_CHANGES)]

    def to_json(self) -> dict[str, Any]:
        """What decides the figures of a changed scan; which changes are tried may differ when it goes on.

        Raises:
            BundleFailure: The bundle is missing or damaged.
        """
        values = super().to_json()
        options = {name: value for name, value in values["options"].items() if name not in ("changes", "severities")}
        return {**values, "protocol": PROTOCOL, "options": options}


@dataclass(frozen=True)
class _Result:
    """What a detection and the baseline make of a scan."""

    examined: Examined
    scored: list[Scored]
    histogram_kl: float
    warnings: list[str]


@dataclass(frozen=True)
class _Clean:
    """A scan as it is: what its changed forms are compared with."""

    scan: sitk.Image
    result: _Result


def evaluate(cases: Sequence[Case], settings: RobustnessSettings, folder: Path, *, jobs: int = 1, show: Show) -> None:
    """Try all changes on all volumes, as far as that has not been done; single slices are left out.

    Args:
        cases: With ids of their own.
        settings: How, and which changes.
        folder: That :func:`experiment.open_folder` made.
        jobs: Number of processes.
        show: Told after each changed scan.

    Raises:
        Failure: Of the bundle, the device or the output.
    """
    wanted = [(case, *change) for case in cases if case.index is None for change in settings.panel()]
    waiting = [each for each in wanted if load(trial_file(folder, *each)) is None]
    tasks = [Task(trial_file(folder, *each).stem, partial(try_change, *each, settings, folder)) for each in waiting]
    experiment.keep_failures(folder, run_tasks(tasks, jobs, show, len(wanted) - len(waiting)))


def try_change(case: Case, change: str, severity: int, settings: RobustnessSettings, folder: Path) -> None:
    """Change a scan, run the detection and keep what was measured; a refusal is a result, too.

    Raises:
        Failure: The scan as it is, the bundle, the device or the folder cannot be used.
    """
    begin = time.perf_counter()
    clean = _clean(case, settings)
    if isinstance(clean, BadInput):
        raise clean
    about = (case.id, case.patient, case.dataset, case.contrast, case.truth is not None, change, severity)
    changed = _changed(clean, change, severity, settings.seed)
    if change == CLEAN:
        trial = _trial(about, clean, changed, clean.result, settings)
    elif _is_same(clean.scan, changed.scan):
        trial = Trial(*about, applies=False)
    else:
        try:
            trial = _trial(about, clean, changed, _result_of(case, changed.scan, settings), settings)
        except BadInput as failure:
            trial = Trial(*about, refused=failure.code)
    with as_output_failure(folder):
        save(trial_file(folder, case, change, severity), replace(trial, seconds=time.perf_counter() - begin))


@lru_cache(maxsize=1)
def _clean(case: Case, settings: RobustnessSettings) -> _Clean | BadInput:
    """The scan as it is, kept for all its changes; or why it cannot be used."""
    try:
        return _Clean(volumes.read(case.scan), _result(case, settings))
    except BadInput as failure:
        return failure


def _result_of(case: Case, scan: sitk.Image, settings: RobustnessSettings) -> _Result:
    """Send a changed scan the way of a detection, from a file on. Raises Failure."""
    with tempfile.TemporaryDirectory() as private:
        file = Path(private) / "scan.mha"
        sitk.WriteImage(scan, str(file))
        return _result(replace(case, scan=file, truth=None), settings)


def _result(case: Case, settings: RobustnessSettings) -> _Result:
    bundle = loaded(settings.bundle, settings.device)
    require_contrast(bundle, case.contrast)
    recorder, device = Recorder(Quiet()), choose(settings.device)
    examined = examine(case, bundle.config.grid, skull=settings.skull, device=device, progress=recorder)
    volume, mask = examined.volume, examined.mask
    found = score(bundle, examined.brain, case.contrast, seed=settings.seed)
    others = methods.other_maps(examined, bundle, settings.baselines, settings.seed)
    scored = [methods.model_map(examined, found), *others]
    codes = [warning["code"] for warning in recorder.warnings]
    return _Result(examined, scored, histogram_kl(volume, found.restored.mean, mask), codes)


def _changed(clean: _Clean, change: str, severity: int, seed: int) -> Changed:
    brain = clean.result.examined.prepared.native_mask
    if change == CLEAN:
        return unmoved(clean.scan)
    if change in CORRUPTIONS:
        return unmoved(corrupt(clean.scan, brain, change, severity, seed))
    return GEOMETRIC_CHANGES[change](clean.scan, brain)


def _is_same(scan: sitk.Image, changed: sitk.Image) -> bool:
    same_grid = Grid.of(scan) == Grid.of(changed)
    return same_grid and np.array_equal(sitk.GetArrayViewFromImage(scan), sitk.GetArrayViewFromImage(changed))


def _trial(
    about: tuple[Any, ...], clean: _Clean, changed: Changed, result: _Result, settings: RobustnessSettings
) -> Trial:
    figures = {}
    for before, after in zip(clean.result.scored, _back(result, changed, Grid.of(clean.scan)), strict=True):
        figures[after.name] = compared(clean.result.examined, before, after, settings)
    return Trial(*about, warnings=result.warnings, histogram_kl=result.histogram_kl, methods=figures)


def _back(result: _Result, changed: Changed, original: Grid) -> Iterator[Scored]:
    """The maps of a changed scan on the grid of the scan as it was."""
    reference = result.examined.prepared.reference
    for each in result.scored:
        maps = (changed.back(reference.with_array(values), original) for values in (each.raw, each.score))
        yield Scored(each.name, *map(sitk.GetArrayFromImage, maps))


def compared(examined: Examined, before: Scored, after: Scored, settings: RobustnessSettings) -> Figures:
    """Judge the maps of a changed scan.

    Args:
        examined: The scan as it was.
        before: Its maps.
        after: The maps of the changed scan, on the same grid.
        settings: When a voxel belongs to a finding.
    """
    rule, brain, spacing = settings.rule, examined.native_mask, examined.spacing
    truth = examined.native_truth & brain
    healthy = brain & ~truth
    flagged, was_flagged = (
        finding_mask(each.score, rule.threshold, spacing, rule.min_volume_ml) for each in (after, before)
    )
    scores, former = after.score[brain], before.score[brain]
    varied = scores.std() > 0 and former.std() > 0
    overlap = dice(flagged, was_flagged)
    return Figures(
        average_precision=count(after.raw[brain], truth[brain]).average_precision(),
        flagged_fraction=float((after.score[healthy] >= rule.threshold).mean()) if healthy.any() else None,
        flagged_ml=float(flagged.sum() * np.prod(spacing) / 1000),
        correlation=float(np.corrcoef(scores, former)[0, 1]) if varied else None,
        difference=float(np.abs(scores - former).mean()),
        dice=None if np.isnan(overlap) else overlap,
    )
