"""From recipe and data to a bundle that flags what its threshold says; nothing is replaced unasked."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from spheres import label_map
from thin_files import disks, write_thin
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_BUNDLE, EXIT_OUTPUT, BadInput, OutputFailure
from conddiffusion_uad.training import metadata
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import calibrate, healthy_brains
from conddiffusion_uad.training.data.anatomy import tissue_fractions
from conddiffusion_uad.training.data.corpus import Anatomy, Part, load_corpus
from conddiffusion_uad.training.data.source import Source
from conddiffusion_uad.training.training_run import CHECKPOINT
from conddiffusion_uad.training.validation import Validation, can_judge

RECIPE = (
    TINY_MODEL
    + """
[fit]
samples = 160
batch = 8
learning_rate = 2e-3
ema = 0.9
clip = 1.0
precision = "fp32"
objective = { kind = "synthetic_anomalies", share = 0.5, weight = 1.0 }
[pretrain]
samples = 16
width = 32
[validation]
every = 10
slices = 20
timesteps = [200, 400]
[[source]]
kind = "scans"
files = "t2/*.nii.gz"
contrast = "T2"
weight = 1.0
held_out = 4
"""
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe and thin volumes for it, prepared once for all tests."""
    folder = tmp_path_factory.mktemp("data")
    for number, image in enumerate(disks(12)):
        write_thin(folder / "t2" / f"{number:02d}.nii.gz", image)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def calibrated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was fitted and calibrated."""
    output = tmp_path_factory.mktemp("bundles") / "tiny"
    assert train(data, "fit", "--output", output) == 0
    assert train(data, "calibrate", output, "--precision", "fp32") == 0
    return output


@pytest.fixture
def bundle(calibrated: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(calibrated, tmp_path / "copy")


def train(data: Path, step: str, *more: object) -> int:
    recipe = [] if step == "calibrate" else ["--recipe", data / "recipe.toml"]
    common = ["--data", data, "--device", "cpu", *recipe]
    return main(["train", step, *map(str, (*more, *common))])


def recipe_of(data: Path, *assignments: str) -> recipes.Recipe:
    return recipes.load(str(data / "recipe.toml"), assignments)


def corpus_of(recipe: recipes.Recipe, data: Path) -> list[Part]:
    return load_corpus(recipe.sources, data, recipe.bundle.grid, data / ".cache", lambda _: None)


def test_a_bundle_is_fitted_calibrated_and_tells_how(calibrated: Path, data: Path) -> None:
    assert not (calibrated / CHECKPOINT).exists()
    assert (calibrated / bundles.RECIPE).read_text() == RECIPE
    bundle = bundles.load(str(calibrated))
    assert bundle.calibration["T2"].scans == 4 and bundle.gate["T2"].scans == 1  # thin volumes count together
    told = bundle.metadata
    assert told["held_out"] == [f"{number:02d}.nii.gz" for number in range(8, 12)]
    assert (told["split"]["train"], told["split"]["held_out"], told["split"]["test"]) == (8, 4, 0)
    assert len(told["trained_on"]) == 8
    assert told["calibrated_with"] == {"device": "cpu", "precision": "fp32"}


def test_a_fit_tells_at_once_which_networks_it_leaves_as_they_are(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ("--set", "fit.samples=8", "--set", "validation.every=0", "--output", tmp_path / "apart")
    learned = '{"T2": {"kind": "learned", "mirrored": false}}'
    assert train(data, "fit", *tiny, "--set", f"anomaly_map={learned}") == 0
    lines = capsys.readouterr().err.splitlines()
    assert "fits the denoiser only, and learned_map after it" in lines[0] and "make_bundle.py" in lines[0]
    assert "make_bundle.py" in lines[-1] and "now calibrate it" not in lines[-1]


def test_the_threshold_flags_what_it_says(calibrated: Path, data: Path) -> None:
    bundle, recipe = bundles.load(str(calibrated)), recipe_of(data)
    head = Anatomy("spheres", tissue_fractions(label_map(), _enlarged(), recipe.bundle.grid))
    labels = Part(Source("labels", "*", weight=1.0, held_out=1), [], [head])
    corpus = [*corpus_of(recipe, data), labels]
    lines: list[str] = []
    calibration = calibrate(bundle, corpus, recipe.seed, lines.append)["T2"]
    assert calibration.scans == 5 and "T2: 1 in 100 voxels of 5 healthy scans" in lines[0]
    flagged = []
    for part in corpus:
        for healthy in healthy_brains(part, "T2", recipe.bundle.grid, recipe.seed + 1):
            scored = score(bundle, healthy.brain, "T2", seed=recipe.seed + 1)
            flagged.append((calibration.score(scored.anomaly_map, scored.mask)[scored.mask] > 1).mean())
    assert 0.02 < np.mean(flagged) < 0.15  # a score of 1 is for the tenth part


def _enlarged():  # type: ignore[no-untyped-def]
    """Maps the atlas to a head of spheres that is as large as a brain."""
    import SimpleITK as sitk

    return sitk.ScaleTransform(3, [0.45] * 3)


def test_nothing_is_replaced_unless_asked(bundle: Path, data: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in bundle.rglob("*") if file.is_file()}
    assert train(data, "fit", "--output", bundle) == EXIT_OUTPUT
    assert train(data, "calibrate", bundle) == EXIT_OUTPUT
    assert train(data, "calibrate", bundle, "--gate-only") == EXIT_OUTPUT
    (tmp_path / "encoder.safetensors").write_bytes(b"mine")
    wide = ("--set", "grid.size=[40, 24, 24]")
    assert train(data, "pretrain", "--output", tmp_path / "encoder.safetensors", *wide) == EXIT_OUTPUT
    assert (tmp_path / "encoder.safetensors").read_bytes() == b"mine"
    assert {file: file.read_bytes() for file in bundle.rglob("*") if file.is_file()} == before
    assert train(data, "calibrate", bundle, "--gate-only", "--force") == 0
    assert train(data, "fit", "--output", bundle, "--force", "--set", "fit.samples=8") == 0
    assert not (bundle / bundles.CALIBRATION).exists()  # it was of other weights


def test_a_checkpoint_is_kept_until_what_was_learned_can_be_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bundles.save

    def damaged(folder: Path, *arguments: object) -> None:
        write(folder, *arguments)  # type: ignore[arg-type]
        (folder / bundles.WEIGHTS).write_bytes(b"cut off")

    monkeypatch.setattr(bundles, "save", damaged)
    short = ("--output", tmp_path / "tiny", "--set", "fit.samples=8")
    assert train(data, "fit", *short) == EXIT_BUNDLE
    assert (tmp_path / "tiny" / CHECKPOINT).is_file()
    monkeypatch.undo()
    assert train(data, "fit", *short, "--force") == 0  # goes on from there
    assert not (tmp_path / "tiny" / CHECKPOINT).exists()


def test_the_encoder_is_pretrained_and_handed_over(data: Path, tmp_path: Path) -> None:
    encoder, wide = tmp_path / "pretrained" / "encoder.safetensors", ("--set", "grid.size=[40, 24, 24]")
    cache = ("--cache", tmp_path / "cache")
    assert train(data, "pretrain", "--output", encoder.parent, *wide, *cache) == 0
    assert [file.name for file in encoder.parent.iterdir()] == [encoder.name]
    short = (*wide, *cache, "--set", "fit.samples=16", "--encoder", encoder)
    assert train(data, "fit", "--output", tmp_path / "tiny", *short) == 0
    told = bundles.load(str(tmp_path / "tiny")).metadata
    assert told["pretrained_encoder"] == hashlib.sha256(encoder.read_bytes()).hexdigest()


def test_slices_of_one_patch_cannot_be_pretrained_on(data: Path, tmp_path: Path) -> None:
    assert train(data, "pretrain", "--output", tmp_path / "encoder.safetensors") == EXIT_BAD_INPUT


def test_a_single_seen_patch_in_a_batch_cannot_be_normalized(data: Path, tmp_path: Path) -> None:
    one = ("--set", "grid.size=[40, 24, 24]", "--set", "pretrain.batch=1", "--cache", tmp_path / "cache")
    assert train(data, "pretrain", "--output", tmp_path / "encoder.safetensors", *one) == EXIT_BAD_INPUT


def test_a_training_goes_on_from_a_bundle_with_the_same_network(calibrated: Path, data: Path, tmp_path: Path) -> None:
    going_on = ("--set", "fit.samples=16", "--set", "fit.learning_rate=0", "--from", calibrated)
    assert train(data, "fit", *going_on, "--output", tmp_path / "second") == 0
    first, second = (bundles.load(str(path)) for path in (calibrated, tmp_path / "second"))
    assert second.metadata["started_from"] == first.sha256
    assert first.metadata["trained_on"] and set(first.metadata["trained_on"]) <= set(second.metadata["trained_on"])
    assert recipes.load(str(tmp_path / "second" / bundles.RECIPE)).fit.samples == 16
    learned = dict(second.model.named_parameters())
    assert all(torch.equal(learned[name], value) for name, value in first.model.named_parameters())
    other = ("--set", "denoiser.base=16", "--from", calibrated, "--output", tmp_path / "third")
    assert train(data, "fit", *other) == EXIT_BAD_INPUT


def test_a_network_with_neighbours_is_trained_and_calibrated(data: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("seed = 0", 'seed = 0\ncontext = [{ kind = "neighbours" }, "mirror", "atlas"]')
    (tmp_path / "recipe.toml").write_text(text)
    output = tmp_path / "tiny"
    short = ("--set", "fit.samples=16", "--recipe", tmp_path / "recipe.toml")
    common = ["--data", data, "--device", "cpu"]
    assert main(["train", "fit", *map(str, (*short, *common, "--output", output))]) == 0
    assert train(data, "calibrate", output) == 0
    bundle = bundles.load(str(output))
    assert bundle.method.context_channels == 5 and bundle.calibration["T2"].scans == 4


def test_a_bundle_is_not_calibrated_on_what_it_was_trained_on(bundle: Path, data: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "data"
    shutil.copytree(data, fewer)
    assert train(fewer, "calibrate", bundle, "--force") == 0
    (fewer / "t2" / "11.nii.gz").rename(fewer / "t2" / "000.nii.gz")  # so that another one is the last
    assert train(fewer, "calibrate", bundle, "--force") == EXIT_BAD_INPUT


def test_the_validation_is_always_the_same_and_leaves_the_network_as_it_was(data: Path) -> None:
    recipe = recipe_of(data)
    torch.manual_seed(0)
    model = recipe.bundle.build().train()
    judges = [Validation(recipe, corpus_of(recipe, data), model.noise, torch.device("cpu")) for _ in range(2)]
    first, second = (judge.loss(model) for judge in judges)
    assert first == second == judges[0].loss(model) and model.training
    assert judges[0].due(10, 20) and judges[0].due(20, 20) and not judges[0].due(11, 20)
    wrong = recipe_of(data, "validation.timesteps=[999]")
    noisy = Validation(wrong, corpus_of(wrong, data), model.noise, torch.device("cpu")).loss(model)
    assert noisy != first


def test_where_only_data_without_weight_are_held_out_nothing_is_validated(data: Path, tmp_path: Path) -> None:
    sources = ("--set", "source.0.held_out=0", "--set", "fit.samples=8")
    recipe = recipe_of(data, "source.0.held_out=0")
    (part,) = corpus_of(recipe, data)
    only_judged = Part(Source("scans", "*", weight=0.0, held_out=0, contrast="T2"), [], part.fit)
    assert not can_judge([part, only_judged]) and can_judge(corpus_of(recipe_of(data), data))
    assert train(data, "fit", "--output", tmp_path / "tiny", *sources) == 0
    best = ("--set", "validation.keep=best")
    assert train(data, "fit", "--output", tmp_path / "best", *sources, *best) == EXIT_BAD_INPUT


def test_held_out_data_are_not_trained_on(data: Path) -> None:
    (part,) = corpus_of(recipe_of(data), data)
    assert len(part.held_out) == 4
    assert not {item.name for item in part.fit} & {item.name for item in part.held_out}


def test_prepared_data_are_read_from_the_cache(data: Path, tmp_path: Path) -> None:
    recipe, lines = recipe_of(data), []
    for _ in range(2):
        load_corpus(recipe.sources, data, recipe.bundle.grid, tmp_path / "cache", lines.append)
    assert len(lines) == 13 and lines[:2] == ["Checking 12 files", "Preparing 00.nii.gz (1 of 12)"]


def test_a_cache_that_cannot_be_made_is_told(data: Path, tmp_path: Path) -> None:
    recipe = recipe_of(data)
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailure, match="cache"):
        load_corpus(recipe.sources, data, recipe.bundle.grid, tmp_path / "file" / "cache", lambda _: None)


def test_too_little_data_is_refused(data: Path, tmp_path: Path) -> None:
    recipe = recipe_of(data)
    with pytest.raises(BadInput, match="finds 0 scans"):
        load_corpus(recipe.sources, tmp_path, recipe.bundle.grid, tmp_path / "cache", lambda _: None)


def test_the_metadata_are_json_and_tell_the_split(data: Path) -> None:
    recipe = recipe_of(data)
    told = json.loads(json.dumps(metadata.metadata(recipe, corpus_of(recipe, data), None, None)))
    assert len(told["split"]["sha256"]) == 64 and "not a medical device" in told["description"]


def test_masked_pretraining_needs_batch_normalization(data: Path, tmp_path: Path) -> None:
    other = ("--set", "condition.block_inplanes=[8, 8, 8, 8]", "--set", "grid.size=[40, 24, 24]")
    recipe = (data / "recipe.toml").read_text().replace('"encoder"', '"normalized_encoder"\nnorm = "layer"')
    (tmp_path / "recipe.toml").write_text(recipe)
    asked = ["train", "pretrain", "--recipe", tmp_path / "recipe.toml", "--output", tmp_path / "e.safetensors", *other]
    assert main([*map(str, asked), "--data", str(data), "--device", "cpu"]) == EXIT_BAD_INPUT
    assert not (tmp_path / "e.safetensors").exists()
