"""Make the shipped bundle ``published-map``: the denoiser of ``residual``, read by the map of the published method.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/published_map.py --data DATA [--cache CACHE] [--output FOLDER]

DATA is what ``residual`` was fitted to (its card lists it). Nothing is trained: the bundle is calibrated on what that
recipe holds out, and the findings in whole scans of it are counted for the promise.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.expected_findings import measure
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import RESEARCH_USE
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import healthy_brains
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.environment import TrainingEnvironment
from conddiffusion_uad.training.progress import ConsoleLog
from conddiffusion_uad.training.recipe import Recipe
from conddiffusion_uad.training.training_run import calibrate_bundle

RECIPE = "published-map"
SHIPPED = Path(__file__).parents[2] / "Resources" / "Models" / RECIPE
LEAST_ML = 0.05  # of a finding
_TOLD = {
    "changelog": {"0.2.0": "The denoiser of 'residual' with the map of the published method."},
    "description": f"The published map, on the denoiser of 'residual', to compare with. {RESEARCH_USE}.",
    "version": "0.2.0",
}


def main() -> None:
    """Write the bundle; a card that lies there stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where prepared scans are kept (default: .cache beside the data)")
    parser.add_argument("--denoiser", default="residual", help="bundle whose denoiser reconstructs")
    parser.add_argument("--output", type=Path, default=SHIPPED)
    options = parser.parse_args()
    torch.set_num_threads(1)
    environment = TrainingEnvironment(options.data, options.cache or options.data / ".cache", "cpu", force=True)
    recipe, log = recipes.load(RECIPE), ConsoleLog("")
    base = bundles.load(options.denoiser)
    assembled(base, recipe, options.output)
    calibrate_bundle(options.output, environment, log)
    shutil.copyfile(base.path / bundles.GATE, options.output / bundles.GATE)  # what one examines, the other does
    bundles.seal(options.output)
    corpus = environment.corpus(recipe, log, Processes())
    bundle = bundles.load(str(options.output)).to("cpu")
    bundles.save_expected(options.output, promised(bundle, corpus, recipe.seed))


def assembled(base: Bundle, recipe: Recipe, output: Path) -> None:
    """Write a bundle that is not calibrated: networks, license and history of another one, the map of a recipe.

    Raises:
        BundleFailure: ``weights_unusable`` when the recipe has other networks.
    """
    sealed = {"conddiffusion_uad", "sha256", "calibrated_with"}
    inherited = {key: value for key, value in base.metadata.items() if key not in sealed}
    bundles.save(output, recipe.bundle, base.trainable, {**inherited, **_TOLD, "started_from": base.sha256})
    terms = (base.path / "LICENSE").read_text(encoding="utf-8").replace(f'"{base.name}"', f'"{recipe.name}"')
    (output / "LICENSE").write_text(terms, encoding="utf-8", newline="\n")
    (output / bundles.RECIPE).write_text(recipe.text, encoding="utf-8", newline="\n")


def promised(bundle: Bundle, corpus: list[Part], seed: int) -> dict[str, ExpectedFindings]:
    """Findings to expect in healthy scans, by contrast, counted in the whole ones that a corpus holds out."""
    expected = {}
    voxel_ml = float(np.prod(bundle.config.grid.spacing)) / 1000
    for contrast in bundle.config.contrasts:
        scans = [scan for part in corpus for scan in healthy_brains(part, contrast, bundle.config.grid, seed)]
        scores = [score(bundle, scan.brain, contrast, seed=seed).score for scan in scans if not scan.thin]
        expected[contrast] = measure(scores, voxel_ml, LEAST_ML)
    return expected


if __name__ == "__main__":
    main()
