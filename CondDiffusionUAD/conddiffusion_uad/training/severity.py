"""Finding the plane between healthy slices and sick ones, by synthetic anomalies or weak labels; see
``method.measures.severity``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.config import BundleConfig
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.measures.severity import PERCENTILES, Plane, Severity, scan_features
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import can_show, healthy_brains
from conddiffusion_uad.training.copies import copy_with, require_apart
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.environment import TrainingEnvironment
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.synthetic_anomalies.anomalies import corrupt
from conddiffusion_uad.training.weak_labels import read_weak_labels, weak_pairs

SHRINKAGE = 0.1  # of the covariance towards equal, independent features: there may be fewer slices than features
Pair = tuple[np.ndarray, np.ndarray]  # features of healthy slices of a scan, and of its sick ones, (slices, D)


def severity_bundle(
    name: str,
    output: Path,
    environment: TrainingEnvironment,
    log: TrainingLog,
    labels: Path | None = None,
    contrast: str | None = None,
) -> None:
    """Write a copy of a bundle that tells how sick a scan looks.

    Args:
        name: Name or folder of a bundle; without ``labels``, one that was fitted here.
        environment: The data of its recipe, or the folder of the labeled scans, and the device.
        labels: Table that says which scans are sick, see :mod:`conddiffusion_uad.training.weak_labels`; None to learn
            from synthetic anomalies.
        contrast: Of the labeled scans; "auto" or None for what their names and tags say.

    Raises:
        BadInput: ``recipe_not_found``, ``no_encoder``, ``no_healthy_scan``, ``bad_option`` for such an output or for a
            contrast without ``labels``, or the data cannot be used.
        BundleFailure, DeviceFailure, OutputFailure: The bundle, the device or the output cannot be used.
    """
    if labels is None and contrast is not None:
        raise BadInput("bad_option", "--contrast is that of scans with --labels.", "Leave it out, or say --labels.")
    environment.require_new([output])
    bundle = bundles.load(name).to(choose(environment.device), "fp32")
    require_apart(bundle, output)
    if labels is None and not (bundle.path / bundles.RECIPE).is_file():
        raise BadInput("recipe_not_found", f"{name} has no recipe.", "Give the folder that `train fit` made.")
    if not bundle.method.condition.features:
        raise BadInput("no_encoder", f"The bundle {bundle.name} has no encoder.", "Choose one with a condition.")
    part = Severity(bundle.method.condition.features)
    others = tuple(other for other in bundle.method.measures if not isinstance(other, Severity))
    model = bundle.adaptable()
    graded = replace(bundle.config, method=replace(bundle.method, measures=(*others, part)))
    if labels is None:
        recipe = recipes.load(str(bundle.path / bundles.RECIPE))
        told = learn_severity(model, graded, environment.corpus(recipe, log, Processes()), recipe.seed, log)
    else:
        known = read_weak_labels(labels, environment.data, log, skip_bad=environment.skip_bad)
        found = weak_pairs(bundle, known, contrast or "auto", log, skip_bad=environment.skip_bad)
        told = _take_plane(model, part, *found, log)
    copy_with(bundle, graded.method, output, told, model=model.cpu())
    log(f"Wrote {output}")


def learn_severity(
    model: ConditionedDiffusion, config: BundleConfig, corpus: Sequence[Part], seed: int, log: Callable[[str], None]
) -> dict[str, Any]:
    """Give a fitted model the plane that its measure severity goes by, if it has that measure.

    Args:
        model: Its encoder is what it will be.

    Returns:
        What the metadata say of it, ``{"severity": {"auroc", "scans"}}``; empty without the measure.

    Raises:
        BadInput: ``no_healthy_scan``.
    """
    part = _measure(config)
    if part is None:
        return {}
    fitted, unseen = (list(pairs(model, config, corpus, seed, fitted=of_fit)) for of_fit in (True, False))
    return _take_plane(model, part, fitted, unseen, log)


def require_healthy(config: BundleConfig, corpus: Sequence[Part]) -> None:
    """Check before a fit whether :func:`learn_severity` can follow it. Raises BadInput("no_healthy_scan")."""
    for side in ("fit", "held_out") if _measure(config) else ():
        items = [item for part in corpus for item in getattr(part, side)]
        if not any(can_show(item, contrast) for item in items for contrast in config.contrasts):
            raise _no_healthy_scan()


def _measure(config: BundleConfig) -> Severity | None:
    return next((part for part in config.method.measures if isinstance(part, Severity)), None)


def _no_healthy_scan() -> BadInput:
    message = "The measure severity needs healthy scans, held-out ones too."
    return BadInput("no_healthy_scan", message, "Add a source, or scans.")


def _take_plane(
    model: ConditionedDiffusion,
    part: Severity,
    fitted: Sequence[Pair],
    unseen: Sequence[Pair],
    log: Callable[[str], None],
) -> dict[str, Any]:
    if not all(any(len(pair[side]) for pair in each) for each in (fitted, unseen) for side in (0, 1)):
        raise _no_healthy_scan()
    plane = fit_plane(fitted, unseen)
    told = {"auroc": round(auroc(plane, unseen), 4), "scans": len(unseen)}
    log(f"Slices of sick scans are told from others with an AUROC of {told['auroc']:.3f} in held-out scans")
    model.networks[part.weights] = plane.to(model.device)
    return {"severity": told}


def pairs(
    model: ConditionedDiffusion, config: BundleConfig, corpus: Sequence[Part], seed: int, *, fitted: bool
) -> Iterator[Pair]:
    """Features of each healthy scan of a corpus, in every contrast that it can show, with and without anomalies."""
    for contrast in config.contrasts:
        for part in corpus:
            for number, healthy in enumerate(healthy_brains(part, contrast, config.grid, seed, fitted=fitted)):
                brain = healthy.brain
                source = torch.Generator().manual_seed(seed + number)
                sick, _ = corrupt(torch.from_numpy(brain.volume).unsqueeze(1), 1.0, source)
                volumes = (brain.volume, sick[:, 0].numpy())
                of_scan = [
                    scan_features(Restored(Volume(v, brain.mask, brain.grid), contrast, v[None], 1), model)
                    for v in volumes
                ]
                if len(of_scan[0]):
                    yield of_scan[0].double().cpu().numpy(), of_scan[1].double().cpu().numpy()


def fit_plane(fitted: Sequence[Pair], unseen: Sequence[Pair]) -> Plane:
    """Fisher's discriminant: ``n ~ S^-1 (m_sick - m_healthy)``, and b half way between the means.

    Args:
        unseen: Whose healthy halves say how severe healthy scans are.
    """
    healthy, sick = (np.concatenate([pair[side] for pair in fitted]) for side in (0, 1))
    within = np.concatenate([healthy - healthy.mean(axis=0), sick - sick.mean(axis=0)])
    covariance = within.T @ within / max(len(within) - 2, 1)
    count = len(covariance)
    level = max(float(np.trace(covariance)) / count, 1e-12)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(count)
    normal = np.linalg.solve(shrunk, sick.mean(axis=0) - healthy.mean(axis=0))
    normal /= max(float(np.linalg.norm(normal)), 1e-12)
    offset = normal @ (healthy.mean(axis=0) + sick.mean(axis=0)) / 2
    severities = [float((healthy @ normal - offset).mean()) for healthy, _ in unseen if len(healthy)]
    plane = Plane(count)
    plane.normal.copy_(torch.from_numpy(normal))
    plane.offset.copy_(torch.tensor(offset))
    plane.healthy.copy_(torch.from_numpy(np.percentile(severities, np.linspace(0, 100, PERCENTILES))))
    return plane


def auroc(plane: Plane, unseen: Sequence[Pair]) -> float:
    """How well the plane tells slices with anomalies from others, 0.5 by chance."""
    healthy, sick = (plane(torch.from_numpy(np.concatenate([p[side] for p in unseen])).float()) for side in (0, 1))
    higher = (sick[:, None] > healthy).float() + 0.5 * (sick[:, None] == healthy).float()
    return float(higher.mean())
