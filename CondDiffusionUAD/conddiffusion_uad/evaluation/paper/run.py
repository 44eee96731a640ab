"""Running the published protocol: a map of each scan and bundle first, then thresholds and figures, fold by fold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.detection.pipeline import require_contrast
from conddiffusion_uad.evaluation import experiment, record
from conddiffusion_uad.evaluation.case_run import identity, loaded, truth_on_grid
from conddiffusion_uad.evaluation.cases import Case, examine
from conddiffusion_uad.evaluation.metrics.fidelity import fidelity
from conddiffusion_uad.evaluation.paper.protocol import Fold, Volume, filtered_residual, run_fold, validation_patients
from conddiffusion_uad.evaluation.tasks import Show, Task, run_tasks
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.model.device import choose

PROTOCOL = "paper"
RESULTS = "paper.json"


@dataclass(frozen=True)
class PaperSettings:
    """How the published protocol is run.

    Attributes:
        bundles: Names or folders. Fold k takes the k-th one, beginning anew after the last: one for each fold is what
            was published, a single one shows only how much the choice of patients matters.
        device: That computes.
        skull: "auto", "on" or "off".
        seed: Of the noise and of the folds.
    """

    bundles: tuple[str, ...]
    device: str = "auto"
    skull: str = "auto"
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """What decides the figures. Raises BundleFailure when a bundle is missing or damaged."""
        bundles = [identity(bundle) for bundle in self.bundles]
        return {"protocol": PROTOCOL, "bundles": bundles, "options": {"skull": self.skull, "seed": self.seed}}


def evaluate(cases: Sequence[Case], settings: PaperSettings, folder: Path, *, jobs: int, show: Show) -> None:
    """Reconstruct all volumes with all bundles as far as they are not yet, then keep the figures as ``paper.json``.

    Args:
        cases: Labeled and healthy volumes; single slices are left out.
        settings: How.
        folder: That :func:`experiment.open_folder` made.
        jobs: Number of processes.
        show: Told after each volume.

    Raises:
        Failure: Of the bundle, the device or the output.
    """
    volumes = [case for case in cases if case.index is None]
    pairs = [(number, case) for number in range(len(settings.bundles)) for case in volumes]
    waiting = [(number, case) for number, case in pairs if not _file(folder, number, case).is_file()]
    tasks = [Task(case.id, partial(reconstruct_case, number, case, settings, folder)) for number, case in waiting]
    experiment.keep_failures(folder, run_tasks(tasks, jobs, show, len(pairs) - len(waiting)))
    found = figures(volumes, settings, folder)
    with as_output_failure(folder):
        (folder / RESULTS).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def reconstruct_case(number: int, case: Case, settings: PaperSettings, folder: Path) -> None:
    """Keep the filtered residual of a volume, its truth and the figures of its reconstruction.

    Raises:
        Failure: The scan, the bundle, the device or the folder cannot be used.
    """
    bundle = loaded(settings.bundles[number], settings.device)
    require_contrast(bundle, case.contrast)
    examined = examine(case, bundle.config.grid, skull=settings.skull, device=choose(settings.device))
    volume, mask = examined.volume, examined.mask
    estimate = restore(bundle, examined.brain, case.contrast, seed=settings.seed).mean
    truth = truth_on_grid(examined)
    of_reconstruction = json.dumps(asdict(fidelity(volume, estimate, mask, truth & mask)))
    place = _file(folder, number, case)
    partial_file = place.with_name(f"{place.stem}.part.npz")
    with as_output_failure(folder):
        residual = filtered_residual(volume, estimate, mask).astype(np.float16)
        np.savez_compressed(partial_file, residual=residual, truth=truth, figures=of_reconstruction)
        partial_file.replace(place)


def figures(cases: Sequence[Case], settings: PaperSettings, folder: Path) -> dict[str, Any]:
    """The figures of each data set and contrast::

    {"groups": [{"dataset", "contrast", "scans", "patients",
                 "dice", "average_precision": {"mean", "deviation"} over folds, in percent, or null when healthy,
                 "thresholds": of each fold,
                 "reconstruction": {"l1_healthy", "l1_ratio", "ssim", "psnr": mean over scans and bundles}}]}
    """
    keys = list(dict.fromkeys((case.dataset, case.contrast) for case in cases))
    return {"groups": [_group([c for c in cases if (c.dataset, c.contrast) == key], settings, folder) for key in keys]}


def _group(cases: Sequence[Case], settings: PaperSettings, folder: Path) -> dict[str, Any]:
    known = [case for case in cases if all(_file(folder, n, case).is_file() for n in range(len(settings.bundles)))]
    folds = _folds([case for case in known if case.truth], settings, folder)
    return {
        "dataset": cases[0].dataset,
        "contrast": cases[0].contrast,
        "scans": len(known),
        "patients": len({case.patient for case in known}),
        "dice": _spread([fold.dice for fold in folds]),
        "average_precision": _spread([fold.average_precision for fold in folds]),
        "thresholds": [fold.threshold for fold in folds],
        "reconstruction": _reconstruction(known, settings, folder),
    }


def _folds(cases: Sequence[Case], settings: PaperSettings, folder: Path) -> list[Fold]:
    """Every fold of a group of labeled scans; none when one patient is all there is."""
    if len({case.patient for case in cases}) < 2:
        return []
    folds = []
    for number, chosen in enumerate(validation_patients([case.patient for case in cases], settings.seed)):
        volumes = [_volume(folder, number % len(settings.bundles), case) for case in cases]
        sides = [[v for v in volumes if (v.patient in chosen) == side] for side in (True, False)]
        folds.append(run_fold(*sides))
    return folds


def _volume(folder: Path, number: int, case: Case) -> Volume:
    with np.load(_file(folder, number, case)) as stored:
        return Volume(case.patient, stored["residual"].astype(np.float32), stored["truth"])


def _reconstruction(cases: Sequence[Case], settings: PaperSettings, folder: Path) -> dict[str, float | None]:
    stored = []
    for number in range(len(settings.bundles)):
        for case in cases:
            with np.load(_file(folder, number, case)) as arrays:
                stored.append(json.loads(str(arrays["figures"])))
    return {name: _mean([values[name] for values in stored]) for name in ("l1_healthy", "l1_ratio", "ssim", "psnr")}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _spread(values: Sequence[float]) -> Mapping[str, float] | None:
    """Mean and standard deviation over folds, in percent as published; None where no fold has a value."""
    known = [100 * value for value in values if not math.isnan(value)]
    return {"mean": float(np.mean(known)), "deviation": float(np.std(known))} if known else None


def _file(folder: Path, number: int, case: Case) -> Path:
    return folder / record.FOLDER / f"{number + 1}-{case.id}.npz"
