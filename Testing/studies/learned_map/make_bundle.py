"""Make a bundle of a trained learned map: the denoiser of another bundle, the map's weights, calibration and promise.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/make_bundle.py --data DATA --cache CASES \\
        --weights learned_map.safetensors --recipe RECIPE.toml --output BUNDLE

It is calibrated on the whole healthy scans among the cases of the judgement, that nothing was trained on: real
T1-weighted ones, and for each contrast label maps and T1-weighted scans made to look like it. Findings are counted in
these and in further ones of the same brains, deformed, with other intensities and acquisitions (``varied_cases``), and
all of them tell how large the maps are that are added up. The location prior is told by the plain ones, and in a scan
of each brain only that of the other brains is taken off. The promise is tried on the scans of each brain in turn with
what the other brains say, and on the scans of ``--only-tried``, whose license the bundle need not carry: no voxel of
them goes into it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import judge_cases as judged
import numpy as np
import tomllib
import torch
import varied_cases
from judge_cases import Case
from judge_figures import LEAST_ML, VOXEL_ML
from safetensors.torch import load_file

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.config import BundleConfig
from conddiffusion_uad.bundle.expected_findings import counts, findings, levels, promised
from conddiffusion_uad.method.anomaly_map.location_prior import LocationPrior
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.calibration import Calibration
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.learned_map.material import HELD_OUT

ASKED = (0.1, 0.3, 0.5, 1.0, 3.0)  # expected findings that are tried
_KEPT = (
    "authors",
    "copyright",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
)


@dataclass(frozen=True)
class Texts:
    """Files that a bundle takes over as they are."""

    gate: Path
    license: Path
    recipe: Path


def main() -> None:
    """Write the bundle, and beside it ``promise.json``: what was promised and what was made."""
    options = _options()
    torch.set_num_threads(1)
    denoiser = bundles.load(options.denoiser).to("cpu")
    texts = Texts(denoiser.path / bundles.GATE, options.license or denoiser.path / "LICENSE", options.recipe)
    bundle = assembled(denoiser, options.weights, options.output, texts)
    found = judged.load(options.data, options.cache, denoiser, "healthy")
    cases = [(name, case) for name, case in found if not case.single]
    plain = {name: case for name, case in cases if not any(part in name for part in options.only_tried)}
    kept = dict(plain)
    for contrast in bundle.config.contrasts:
        kept |= varied_cases.load(options.data, options.cache, denoiser, contrast, options.of_each)
    config, maps = measured(bundle, kept, options.location_prior)
    bundle = written(options.output, config, bundle.trainable, bundle.metadata, texts)
    calibrations, expected, told = {}, {}, {}
    for contrast in bundle.config.contrasts:
        healthy = {name: (maps[name], case.mask) for name, case in kept.items() if case.contrast == contrast}
        calibration = Calibration.measure([[found[mask]] for name, (found, mask) in healthy.items() if name in plain])
        calibrations[contrast] = calibration
        expected[contrast], told[contrast] = counted({name: calibration.score(*each) for name, each in healthy.items()})
        others = {name: case for name, case in cases if case.contrast == contrast and name not in healthy}
        others = {name: calibration.score(map_of(bundle, case), case.mask) for name, case in others.items()}
        told[contrast] |= {"others": list(others), **made(list(others.values()), expected[contrast])}
        print(contrast, json.dumps(told[contrast]), flush=True)
    bundles.save_calibration(options.output, calibrations, {"device": "cpu", "precision": bundle.precision})
    bundles.save_expected(options.output, expected)
    (options.output.parent / "promise.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared cases")
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="what a training exported; a folder of NETWORK.safetensors if the recipe names several networks",
    )
    parser.add_argument("--recipe", type=Path, required=True, help="parts of the method")
    parser.add_argument("--denoiser", default="residual", help="bundle whose denoiser reconstructs")
    parser.add_argument("--license", type=Path, help="of what it was trained on (default: the denoiser's)")
    parser.add_argument("--only-tried", nargs="*", default=[], metavar="PART", help="of the names of healthy cases")
    parser.add_argument("--of-each", type=int, default=3, metavar="N", help="scans of each brain that are counted in")
    parser.add_argument(
        "--location-prior",
        nargs="*",
        default=["T2"],
        metavar="CONTRAST",
        help="whose maps are lowered where healthy ones are high (default: T2, where it pays: docs/EXPERIMENTS.md)",
    )
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def assembled(base: Bundle, weights: Path, output: Path, texts: Texts) -> Bundle:
    """The bundle with its networks, not yet calibrated."""
    parts = tomllib.loads(texts.recipe.read_text(encoding="utf-8"))
    config = BundleConfig.from_recipe({**base.config.to_json(), **parts})
    model = config.build()
    if not weights.is_dir() and len(model.networks) > 1:
        raise ValueError(f"{weights} is one file, and the recipe has the networks {', '.join(model.networks)}")
    for name, network in model.networks.items():
        file = weights / f"{name}.safetensors" if weights.is_dir() else weights
        network.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    model.load_state_dict(base.trainable.state_dict(), strict=False)
    metadata: dict[str, Any] = {key: base.metadata[key] for key in _KEPT if key in base.metadata}
    metadata |= {
        "version": "0.2.0",
        "changelog": {"0.2.0": "The map is learned."},
        "held_out": list(HELD_OUT),
    }
    metadata["description"] = f"Learned anomaly map '{output.name}'. Research use only, not a medical device."
    return written(output, config, model, metadata, texts)


def written(
    output: Path, config: BundleConfig, model: ConditionedDiffusion, metadata: Mapping[str, Any], texts: Texts
) -> Bundle:
    """Save a bundle that is not calibrated, in place of an earlier one, and load it."""
    bundles.save(output, config, model, metadata)
    shutil.copyfile(texts.gate, output / bundles.GATE)
    shutil.copyfile(texts.license, output / "LICENSE")
    shutil.copyfile(texts.recipe, output / bundles.RECIPE)
    bundles.seal(output)
    return bundles.load(str(output)).to("cpu")


def measured(
    bundle: Bundle, cases: Mapping[str, Case], lowered: Collection[str] = ()
) -> tuple[BundleConfig, dict[str, np.ndarray]]:
    """What is usual in these healthy cases: the configuration that knows it, and its maps of them.

    How large maps are is told by all of them, and where they are often high by the plain ones: of a map of a brain, the
    location prior of the other brains is taken off.

    Args:
        lowered: Contrasts that get a location prior.
    """
    shown = {name: seen(case, bundle) for name, case in cases.items()}
    parts = bundle.method.anomaly_map
    single = {name: parts[case.contrast].maps(shown[name], bundle.model) for name, case in cases.items()}
    ready, maps = {}, {}
    for contrast, part in parts.items():
        mine = {name: case.mask for name, case in cases.items() if case.contrast == contrast}
        part = replace(part, healthy=part.measured([(single[name], mask) for name, mask in mine.items()]))
        added = {name: part.added(single[name], shown[name]) for name in mine}
        known = {name: added[name] for name in mine if contrast in lowered and not varied_cases.is_varied(name)}
        ready[contrast] = replace(part, location_prior=prior_of(known))
        priors = {brain: prior_of(known, brain) for brain in {varied_cases.brain_of(name) for name in mine}}
        for name, found in added.items():
            own = priors[varied_cases.brain_of(name)]
            maps[name] = replace(part, location_prior=own).lowered(found, shown[name])
    return replace(bundle.config, method=replace(bundle.method, anomaly_map=ready)), maps


def prior_of(plain: Mapping[str, np.ndarray], but: str = "") -> str:
    """The location prior of the maps of all brains but one, as a configuration keeps it; that of no maps is none."""
    kept = [(found, FINE) for name, found in plain.items() if varied_cases.brain_of(name) != but]
    return LocationPrior.measure(kept).to_text() if kept else ""


def seen(case: Case, bundle: Bundle) -> Restored:
    """A case as a detection shows it to the map."""
    volume = case.volume.astype(np.float32)
    coarse, inside = judged.halved_scan(volume, case.mask)
    samples = case.samples.astype(np.float32) * inside
    origin = Restored(Volume(coarse, inside, bundle.config.grid), case.contrast, samples, 16)
    fine = origin.at(bundle.method.anomaly_map[case.contrast].spacing)
    return replace(fine, brain=Volume(volume, case.mask, FINE))


def map_of(bundle: Bundle, case: Case) -> np.ndarray:
    """The bundle's map of a case."""
    return bundle.method.anomaly_map[case.contrast](seen(case, bundle), bundle.model)


def counted(scores: Mapping[str, np.ndarray]) -> tuple[ExpectedFindings, dict[str, Any]]:
    """What the findings in healthy scans, by their names, let expect, and how that is kept in each of them."""
    maps, names = list(scores.values()), list(scores)
    thresholds = levels(maps)
    findings_of = counts(maps, thresholds, VOXEL_ML, LEAST_ML)
    brains = [varied_cases.brain_of(name) for name in names]
    expected = promised(thresholds, findings_of, LEAST_ML, [float(each.max()) for each in maps], brains)
    return expected, {"scans": names, **tried(scores, findings_of, expected)}


def tried(scores: Mapping[str, np.ndarray], counted: np.ndarray, expected: ExpectedFindings) -> dict[str, Any]:
    """Findings made in each scan where those of the other brains promise so many, and in all at the usual threshold.

    Of a number that the others cannot promise, None is told.
    """
    found: dict[str, Any] = {}
    thresholds, names = np.array(expected.thresholds), np.array(list(scores))
    brains = np.array([varied_cases.brain_of(name) for name in names])
    promises = {}
    for brain in np.unique(brains):
        rest = brains != brain
        promises[brain] = promised(thresholds, counted[rest], LEAST_ML, brains=brains[rest])
    for asked in ASKED:
        found[f"made for {asked:g}"] = [
            int(own[np.searchsorted(thresholds, promises[brain].threshold(asked))])
            if asked >= promises[brain].counts[-1]
            else None
            for brain, own in zip(brains, counted, strict=True)
        ]
    limit = expected.usual_threshold()
    volumes = [float(findings(score, limit, VOXEL_ML, LEAST_ML).sum()) for score in scores.values()]
    return {**found, "threshold": limit, "bound": expected.at(limit, bounded=True), "ml": np.round(volumes, 2).tolist()}


def made(scores: list[np.ndarray], expected: ExpectedFindings) -> dict[str, list[int]]:
    """Findings in scans that were not counted, at the thresholds that promise so many."""
    limits = {asked: expected.threshold(asked) for asked in ASKED if asked >= expected.counts[-1]}
    return {
        f"made in others for {asked:g}": [findings(score, limit, VOXEL_ML, LEAST_ML).size for score in scores]
        for asked, limit in limits.items()
    }


if __name__ == "__main__":
    main()
