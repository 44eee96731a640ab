"""Fitting and calibrating a tiny model on made-up label maps, from files to a sealed bundle."""

import hashlib
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.calibration import threshold
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import score
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, BadInput, OutputFailure
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import healthy_volumes
from conddiffusion_uad.training.data.batches import batches
from conddiffusion_uad.training.data.corpus import Part, load_corpus
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import Plan
from conddiffusion_uad.training.objectives.fitting import Fitting
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.recipe import Source
from conddiffusion_uad.training.training_run import CHECKPOINT, Means, calibrate_bundle, fit_bundle
from conddiffusion_uad.training.validation import Validation

RECIPE = (
    TINY_MODEL
    + """
[fit]
samples = 640
batch = 16
learning_rate = 2e-3
warm_up = 5
ema = 0.9
clip = 1.0
precision = "fp32"
levels = [1, 1000]
anomalies = { share = 0.5, weight = 1.0 }
[[source]]
kind = "labels"
files = "labels/*.nii.gz"
weight = 0.7
held_out = 1
[[source]]
kind = "slices"
files = "slices.npz"
contrast = "T2"
spacing = 8.0
weight = 0.3
held_out = 2
"""
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: two label maps cut from the atlas' brain, and some slices."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "labels").mkdir()
    atlas = atlases.load()
    brain, t1 = sitk.GetArrayFromImage(atlas.mask) > 0, sitk.GetArrayFromImage(atlas.t1)
    low, high = np.percentile(t1[brain], [15, 55])
    labels = np.select([~brain, t1 < low, t1 < high], [0, 24, 3], 2).astype(np.int32)
    for index in range(2):
        image = sitk.GetImageFromArray(np.roll(labels, 2 * index, axis=2))
        image.CopyInformation(atlas.t1)
        sitk.WriteImage(image, str(folder / "labels" / f"head{index}.nii.gz"))
    coarse = np.where(brain, labels, 0)[20:70:6, ::4, ::4]
    np.savez(folder / "slices.npz", image=np.choose(np.minimum(coarse, 4), [0, 0, 80, 120, 0]).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def recipe() -> recipes.Recipe:
    return recipes.parse(recipes.tomllib.loads(RECIPE), RECIPE)


def fitting_of(recipe: recipes.Recipe, data: Path, *, validated: bool = False) -> Fitting:
    corpus, cpu = corpus_of(recipe, data), torch.device("cpu")
    torch.manual_seed(recipe.seed)
    model = recipe.bundle.build()
    source = batches(recipe, corpus, recipe.fit.batch, cpu)
    steps = recipe.fit.steps(source.size, source.per_epoch)
    plan = Plan(source, steps, recipe.seed, repr(recipe.fit), Processes())
    return Fitting(model, recipe.fit, plan, Validation(recipe, corpus, cpu) if validated else None)


def corpus_of(recipe: recipes.Recipe, data: Path) -> list[Part]:
    return load_corpus(recipe.sources, data, recipe.bundle.grid, data / ".cache", lambda _: None)


def test_loss_falls(recipe: recipes.Recipe, data: Path) -> None:
    fitting = fitting_of(recipe, data)
    losses = [fitting.advance() for _ in range(fitting.steps)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_resumed_training_is_the_uninterrupted_one(recipe: recipes.Recipe, data: Path, tmp_path: Path) -> None:
    whole, first = fitting_of(recipe, data), fitting_of(recipe, data)
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.store(tmp_path / "checkpoint.pt")
    second = fitting_of(recipe, data)
    second.restore(tmp_path / "checkpoint.pt")
    for _ in range(3):
        second.advance()
    assert second.step == whole.step == 6
    for part in ("model", "average"):
        resumed, straight = (getattr(f, part).state_dict() for f in (second, whole))
        assert all(torch.equal(resumed[name], straight[name]) for name in straight), part


def test_bundle_is_fitted_calibrated_and_flags_what_its_threshold_says(data: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "tiny.toml", tmp_path / "tiny"
    path.write_text(RECIPE)
    means = Means(data, data / ".cache", "cpu")
    fit_bundle(recipes.load(str(path)), output, means, TrainingLog())
    calibrate_bundle(output, means, TrainingLog())
    assert not (output / CHECKPOINT).exists()
    bundle = bundles.load(str(output))
    assert (output / bundles.RECIPE).read_text() == RECIPE
    assert bundle.calibration["T2"].scans == 3  # one label map and two slices

    recipe = recipes.load(str(path))
    corpus = corpus_of(recipe, data)
    flagged = []
    for part in corpus:
        for _, volume, mask in healthy_volumes(part, "T2", recipe.seed + 1):
            scores = score(bundle, Volume(volume, mask), "T2", seed=recipe.seed + 1).score
            flagged.append((scores[mask] > threshold(0.05)).mean())
    assert np.mean(flagged) == pytest.approx(0.05, abs=0.03)


def test_the_encoder_is_pretrained_and_handed_over(data: Path, tmp_path: Path) -> None:
    recipe, encoder = tmp_path / "tiny.toml", tmp_path / "pretrained" / "encoder.safetensors"
    text = RECIPE.replace("[24, 24, 24]", "[40, 24, 24]").replace("samples = 640", "samples = 16")
    recipe.write_text(text + "[pretrain]\nsamples = 32\nwidth = 32\n")
    common = ["--recipe", str(recipe), "--data", str(data), "--cache", str(tmp_path / "cache"), "--device", "cpu"]
    assert main(["train", "pretrain", *common, "--output", str(encoder.parent)]) == 0
    assert [file.name for file in encoder.parent.iterdir()] == [encoder.name]
    assert main(["train", "fit", *common, "--output", str(tmp_path / "tiny"), "--encoder", str(encoder)]) == 0
    metadata = bundles.load(str(tmp_path / "tiny")).metadata
    assert metadata["pretrained_encoder"] == hashlib.sha256(encoder.read_bytes()).hexdigest()


def test_a_training_goes_on_from_a_bundle_with_the_same_network(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    common = ["--recipe", str(recipe), "--data", str(data), "--cache", str(data / ".cache"), "--device", "cpu"]
    fit = ["train", "fit", *common, "--set", "fit.samples=16"]
    assert main([*fit, "--output", str(tmp_path / "first")]) == 0
    going_on = ["--set", "fit.learning_rate=0", "--from", str(tmp_path / "first")]
    assert main([*fit, *going_on, "--output", str(tmp_path / "second")]) == 0
    first, second = (bundles.load(str(tmp_path / name)) for name in ("first", "second"))
    assert second.metadata["started_from"] == first.sha256
    assert first.metadata["trained_on"]
    assert set(first.metadata["trained_on"]) <= set(second.metadata["trained_on"])
    assert len(first.metadata["trained_on"]) == first.metadata["split"]["train"]
    assert recipes.load(str(tmp_path / "second" / bundles.RECIPE)).fit.samples == 16
    learned = dict(second.model.named_parameters())
    assert all(torch.equal(learned[name], value) for name, value in first.model.named_parameters())
    other = ["--set", "model.denoiser.base=16", "--from", str(tmp_path / "first"), "--output", str(tmp_path / "third")]
    assert main([*fit, *other]) == EXIT_BAD_INPUT


def test_the_validation_judges_held_out_slices_and_keeps_the_best(recipe: recipes.Recipe, data: Path) -> None:
    judging = replace(recipe, validation=replace(recipe.validation, every=1, slices=20, levels=(200, 400), keep="best"))
    fitting, losses = fitting_of(judging, data, validated=True), []

    class Log(TrainingLog):
        def validated(self, step: int, loss: float, best: bool) -> None:
            assert best == (loss < min(losses, default=math.inf))
            losses.append(loss)

    first = Validation(judging, corpus_of(recipe, data), torch.device("cpu"))
    assert first.loss(fitting.average.module) == first.loss(fitting.average.module)
    for _ in range(4):
        fitting.advance()
        fitting.after_step(Log())
    best = first.loss(fitting.result())
    assert best == fitting.best.loss == min(losses) < losses[0]
    fitting.best.replace(-1.0, {name: 0 * value for name, value in fitting.best.weights.items()})
    assert first.loss(fitting.result()) > best


def test_a_checkpoint_of_other_settings_is_refused(recipe: recipes.Recipe, data: Path, tmp_path: Path) -> None:
    fitting_of(recipe, data).store(tmp_path / "checkpoint.pt")
    longer = replace(recipe, fit=replace(recipe.fit, samples=10_000))
    with pytest.raises(BadInput) as caught:
        fitting_of(longer, data).restore(tmp_path / "checkpoint.pt")
    assert caught.value.code == "other_checkpoint"


def test_a_bundle_is_not_calibrated_on_what_it_was_trained_on(data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE.replace("samples = 640", "samples = 16"))
    recipe = recipes.load(str(tmp_path / "tiny.toml"))
    fit_bundle(recipe, tmp_path / "tiny", Means(data, data / ".cache", "cpu"), TrainingLog())
    fewer = tmp_path / "data"
    shutil.copytree(data, fewer)
    (fewer / "labels" / "head1.nii.gz").rename(fewer / "labels" / "a_head.nii.gz")
    with pytest.raises(BadInput) as caught:
        calibrate_bundle(tmp_path / "tiny", Means(fewer, fewer / ".cache", "cpu"), TrainingLog())
    assert caught.value.code == "other_split"


def test_held_out_data_are_not_trained_on(recipe: recipes.Recipe, data: Path) -> None:
    corpus = corpus_of(recipe, data)
    for part in corpus:
        assert len(part.held_out) == part.source.held_out
        assert not {item.name for item in part.fit} & {item.name for item in part.held_out}


def test_prepared_data_are_read_from_the_cache(recipe: recipes.Recipe, data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    for _ in range(2):
        load_corpus(recipe.sources[1:], data, recipe.bundle.grid, tmp_path / "cache", lines.append)
    assert lines == ["Checking 1 files", "Preparing slices.npz (1 of 1)"]


def test_slices_are_chosen_by_how_clean_they_are_and_known_by_their_position(data: Path, tmp_path: Path) -> None:
    with np.load(data / "slices.npz") as archive:
        images = archive["image"]
    bright = np.arange(len(images))[::-1] / len(images)
    np.savez(tmp_path / "slices.npz", image=images, bright=bright)
    clean = Source("slices", "slices.npz", 1.0, 2, "T2", spacing=8.0, cleanest=0.5)
    other = replace(clean, weight=0.0, cleanest=1.0, skip_cleanest=0.5)
    grid = recipes.load("default").bundle.grid
    parts = load_corpus((clean, other), tmp_path, grid, tmp_path / "cache", lambda _: None)
    first, last = len(images) - len(images) // 2, len(images) - 2
    assert [item.name for item in parts[0].fit] == [f"slices.npz[{i}]" for i in range(first, last)]
    assert not parts[1].fit  # without weight all is kept for the calibration
    assert [item.name for item in parts[1].held_out] == [f"slices.npz[{i}]" for i in range(first)]


def test_a_cache_that_cannot_be_made_is_told(recipe: recipes.Recipe, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailure, match="cache"):
        load_corpus(recipe.sources, data, recipe.bundle.grid, tmp_path / "file" / "cache", lambda _: None)


def test_too_little_data_is_refused(recipe: recipes.Recipe, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="finds 0 scans"):
        load_corpus(recipe.sources, tmp_path, recipe.bundle.grid, tmp_path / "cache", lambda _: None)


@pytest.mark.parametrize("path", sorted(recipes.SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_can_be_used(path: Path) -> None:
    recipe = recipes.load(path.stem)
    assert recipe.name == path.stem
    model = recipe.bundle.build()
    assert not any(size % model.divisor for size in recipe.bundle.grid.size[:2])


def test_the_paper_is_the_published_training() -> None:
    paper = recipes.load("paper")
    model = paper.bundle.build()
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.denoiser, model.encoder)]
    assert millions == pytest.approx([44.07, 24.55], abs=0.02)
    assert paper.bundle.grid.size == (96, 96, 50)
    assert paper.fit.steps(32, 358 // 32) == paper.pretrain.steps(32, 358 // 32) == 13_200
    assert paper.fit.weight_decay == paper.fit.ema == 0  # Adam, and its last weights


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clip = 1.0", "clipping = 1.0"),
        ("levels = [1, 1000]", "levels = [1]"),
        ('"labels"', '"maps"'),
        ("[grid]", "[mesh]"),
        ('"positive"', '"up"'),
        ("samples = 640", "samples = 640\nepochs = 1"),
        ("samples = 640", ""),
        ("[[source]]", "[sampling]\norder = 'epochs'\n[[source]]"),
        ("[[source]]", "[sampling.augmentation]\ngamma = 2\n[[source]]"),
        ("[[source]]", "[pretrain]\nwidth = 100\n[[source]]"),
        ("[[source]]", "[validation]\nkeep = 'first'\n[[source]]"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "wrong.toml").write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        recipes.load(str(tmp_path / "wrong.toml"))
    assert caught.value.code == "bad_recipe"
