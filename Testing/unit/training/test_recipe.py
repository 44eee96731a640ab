"""Shipped recipes can be used, values can be changed, and what is unknown or impossible is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.recipe import override

RECIPE = (
    TINY_MODEL
    + """
[fit]
samples = 640
batch = 16
learning_rate = 2e-3
clip = 1.0
precision = "fp32"
objective = { kind = "synthetic_anomalies", timesteps = [1, 1000], share = 0.5, weight = 1.0 }
[[source]]
kind = "labels"
files = "labels/*.nii.gz"
weight = 0.7
held_out = 1
[[source]]
kind = "scans"
files = "scans/*.nii.gz"
contrast = "T2"
weight = 0.3
held_out = 2
"""
)


@pytest.mark.parametrize("path", sorted(recipes.SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_can_be_used(path: Path) -> None:
    recipe = recipes.load(path.stem)
    assert recipe.name == path.stem
    model = recipe.bundle.build()
    assert not any(size % model.divisor for size in recipe.bundle.grid.size[:2])


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("norm-instance", ["grid.size=[32, 32, 24]"], "single pixels of slices of 32 x 32, and instance norm"),
        ("trial", ["grid.size=[32, 32, 24]", "fit.batch=1"], "batch norm.* a larger batch"),
    ],
)
def test_an_encoder_that_sees_nothing_of_small_slices_is_refused(name: str, changes: list[str], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        recipes.load(name, changes)
    for change in ("grid.size=[40, 32, 24]", "fit.batch=2" if name == "trial" else "condition.norm=layer"):
        recipes.load(name, [*changes, change])


def test_the_paper_is_the_published_training() -> None:
    paper = recipes.load("paper")
    model = paper.bundle.build()
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.denoiser, model.encoder)]
    assert millions == pytest.approx([44.07, 24.55], abs=0.02)
    assert paper.bundle.grid.size == (96, 96, 50)
    assert paper.fit.steps(358 // 32) == paper.pretrain.steps(358 // 32) == 13_200
    assert paper.fit.weight_decay == paper.fit.ema == 0  # Adam, and its last weights
    assert paper.pretrain.schedule == paper.fit.schedule == "constant"


def test_values_are_changed_where_the_keys_lead() -> None:
    values = {"seed": 0, "fit": {"objective": {"share": 0.8}}, "source": [{"weight": 1.0}, {"weight": 2.0}]}
    override(values, ["fit.objective.share=0", "source.1.weight=0.5", "fit.betas=[0.9, 0.99]", "name=mine"])
    assert values["fit"] == {"objective": {"share": 0}, "betas": [0.9, 0.99]}
    assert [source["weight"] for source in values["source"]] == [1.0, 0.5]
    assert values["name"] == "mine"


@pytest.mark.parametrize("wrong", ["fit", "fitt.batch=1", "source.7.weight=1", "seed.batch=1", "source.first.weight=1"])
def test_assignments_that_lead_nowhere_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        override({"seed": 0, "fit": {}, "source": [{"weight": 1.0}]}, [wrong])


@pytest.mark.parametrize("name", ["learned", "paper", "residual", "starter"])
def test_a_changed_recipe_is_read_as_it_was_written(name: str) -> None:
    changed = recipes.load(name, ["fit.batch=7"])
    assert changed.fit.batch == 7
    again = recipes.parse(recipes.tomllib.loads(changed.text), changed.text, recipes.SHIPPED)
    assert again == changed


def test_infinity_survives_a_change(tmp_path: Path) -> None:
    """TOML's word for it is not that of JSON."""
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("clip = 1.0", "clip = inf"))
    changed = recipes.load(str(tmp_path / "recipe.toml"), ["fit.batch=8"])
    (tmp_path / "again.toml").write_text(changed.text)
    assert recipes.load(str(tmp_path / "again.toml")).fit == changed.fit


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # unknown or missing
        ("[grid]", "[mesh]", "unknown key 'mesh'"),
        ("[[source]]", "[validaton]\nevery = 0\n[[source]]", "unknown key 'validaton'"),
        ("seed = 0", "seed = 0\nsed = 1", "unknown key 'sed'"),
        ("seed = 0", "", "lacks seed"),
        ("clip = 1.0", "clipping = 1.0", r"\[fit\] has an unknown key 'clipping'"),
        ("batch = 16\n", "", r"\[fit\] lacks batch"),
        ("weight = 1.0 }", "wait = 1.0 }", "fit.objective has an unknown key 'wait'"),
        ('"synthetic_anomalies"', '"magic"', "fit.objective cannot be 'magic'"),
        ("[[source]]", "[sampling.augmentation]\nflip = 1\n[[source]]", "unknown key 'flip'"),
        ("[[source]]", "[pretrain]\nheight = 1\n[[source]]", r"\[pretrain\] has an unknown key 'height'"),
        ("held_out = 2", "held_out = 2\nspacing = 1.0", r"\[source.1\] has an unknown key 'spacing'"),
        # of another type
        ("seed = 0", "seed = 'a'", "seed cannot be 'a'"),
        ("batch = 16", "batch = 16.5", "batch cannot be 16.5: it is a whole number"),
        ("batch = 16", "batch = true", "batch cannot be True"),
        ("[1, 1000]", "[1]", "timesteps"),
        ("[1, 1000]", '["a", 2]', "timesteps"),
        ("[[source]]", "[sampling]\naugmentation = 1\n[[source]]", "sampling.augmentation"),
        ("weight = 0.3", 'weight = "0.3"', "weight cannot be '0.3': it is a number"),
        # out of range
        ("batch = 16", "batch = 0", "batch is at least 1"),
        ("[1, 1000]", "[-10, 2000]", "from 1 to 1000"),
        ("[1, 1000]", "[300, 200]", "from 1 to 1000"),
        ("share = 0.5", "share = 7", "share cannot be 7"),
        ("weight = 1.0 }", "weight = -1 }", "weight is at least 0"),
        ("weight = 1.0 }", "weight = nan }", "weight is at least 0"),
        ("clip = 1.0", "ema = 3", "ema"),
        ("clip = 1.0", "clip = nan", "clip above 0"),
        ("clip = 1.0", "warm_up = -1", "warm_up at least 0"),
        ("2e-3", "-2e-3", "learning_rate cannot be -0.002"),
        ("2e-3", "nan", "learning_rate cannot be nan"),
        ("seed = 0", "seed = -1", "seed at least 0"),
        ("samples = 640", "samples = 640\nepochs = 1", "either samples or epochs"),
        ("samples = 640", "samples = -1", "either samples or epochs"),
        ("samples = 640\n", "", "either samples or epochs"),
        ('"labels"', '"maps"', "kind is one of"),
        ('"T2"', '"PD"', "contrast of scans is"),
        ("held_out = 2", "held_out = 2.5", "held_out is a share below 1, or a whole number"),
        ("held_out = 2", "held_out = -2", "held_out is"),
        ("weight = 0.3", "weight = -0.3", "weight is at least 0"),
        ("[[source]]", "[sampling]\norder = 'epochs'\n[[source]]", "only scans"),
        ("[[source]]", "[sampling]\norder = 'sorted'\n[[source]]", "order cannot be 'sorted'"),
        ("[[source]]", "[sampling]\nghosting = 2\n[[source]]", "ghosting cannot be 2"),
        ("[[source]]", "[sampling.augmentation]\ngamma = 2\n[[source]]", "gamma cannot be 2"),
        ("[[source]]", "[pretrain]\nwidth = 100\n[[source]]", "width is a multiple of 32"),
        ("[[source]]", "[pretrain]\nobjective = { kind = 'denoising' }\n[[source]]", "trains something else"),
        ("[[source]]", "[validation]\nkeep = 'first'\n[[source]]", "keep cannot be 'first'"),
        ("[[source]]", "[validation]\nevery = -1\n[[source]]", "every is at least 0"),
        ("[[source]]", "[validation]\ntimesteps = [0]\n[[source]]", "timesteps are some numbers from 1 to 1000"),
        ("[[source]]", "[validation]\nevery = 0\nkeep = 'best'\n[[source]]", "keeping the best needs validations"),
    ],
)
def test_wrong_recipes_are_refused_and_say_why(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in RECIPE
    (tmp_path / "wrong.toml").write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(BadInput, match=told) as caught:
        recipes.load(str(tmp_path / "wrong.toml"))
    assert caught.value.code == "bad_recipe"


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"wrong\.toml cannot be used"):
        recipes.load(str(tmp_path / "wrong.toml"))
