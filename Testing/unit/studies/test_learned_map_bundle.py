"""How a bundle of a learned map is put together and tried."""

from dataclasses import replace

import make_bundle
import numpy as np
import pytest
import torch
from judge_cases import Case
from judge_figures import VOXEL_ML
from safetensors.torch import save_file

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.expected_findings import counts, levels, promised
from conddiffusion_uad.method.anomaly_map.learned import LearnedWeights
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import BundleFailure
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.recipe import SHIPPED

RECIPE = SHIPPED / "learned.toml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(3)
    weights = {f"learned_{contrast}": LearnedWeights() for contrast in ("t1", "t2", "flair")}
    (folder / "maps").mkdir()
    for network, each in weights.items():
        half = {name: value.half() for name, value in each.state_dict().items()}
        save_file(half, folder / "maps" / f"{network}.safetensors")
    base = bundles.load("residual")
    texts = make_bundle.Texts(base.path / bundles.GATE, base.path / "LICENSE", RECIPE)
    bundle = make_bundle.assembled(base, folder / "maps", folder / "new", texts)
    return bundle, weights, folder / "new"


def test_it_has_the_denoiser_of_another_bundle_and_the_map_that_was_exported(made):
    bundle, weights, folder = made
    base, own = bundles.load("residual").trainable.state_dict(), bundle.trainable.state_dict()
    for name, value in base.items():
        assert torch.equal(own[name], value), name
    for network, each in weights.items():
        for name, value in each.state_dict().items():
            assert torch.allclose(own[f"networks.{network}.{name}"], value, atol=1e-3), name
    assert bundle.config.timesteps == (100, 300)
    assert set(bundle.gate) == {"T1", "T2", "FLAIR"} and not bundle.calibration
    assert (folder / bundles.RECIPE).read_text() == RECIPE.read_text()
    assert (folder / "LICENSE").read_text() == (bundles.load("residual").path / "LICENSE").read_text()


def test_a_single_file_is_refused_where_the_recipe_names_several_networks(made, tmp_path):
    base = bundles.load("residual")
    texts = make_bundle.Texts(base.path / bundles.GATE, base.path / "LICENSE", RECIPE)
    with pytest.raises(ValueError, match="learned_t1, learned_t2, learned_flair"):
        make_bundle.assembled(base, tmp_path / "map.safetensors", tmp_path / "new", texts)


@pytest.fixture
def case():
    """A few slices of noise."""
    size = FINE.size[::-1]
    mask = np.zeros(size, bool)
    mask[40:44, 40:120, 40:100] = True
    volume = np.where(mask, np.random.default_rng(0).random(size), 0).astype(np.float16)
    samples = np.full((2, size[0], size[1] // 2, size[2] // 2), 0.4, np.float16)
    return Case("healthy", "T1", volume, mask, np.zeros(size, np.int16), samples, np.zeros(size, np.float16), False)


def test_a_case_is_shown_as_a_detection_shows_a_scan(made, case):
    volume = case.volume
    seen = make_bundle.seen(case, made[0])
    assert seen.grid == FINE and np.array_equal(seen.volume, volume.astype(np.float32))
    assert seen.origin.grid == made[0].config.grid and seen.origin.samples.max() == pytest.approx(0.4, abs=1e-3)
    assert seen.origin.volume[41, 30, 30] == pytest.approx(volume[41, 60:62, 60:62].astype(float).mean(), abs=1e-3)
    with pytest.raises(BundleFailure, match="healthy brains"):
        made[0].method.anomaly_map["T1"](seen, made[0].model)


def test_of_a_healthy_case_the_prior_of_the_other_brains_is_taken_off(made, case):
    """Of two that are alike, that of the other is that of both; of one alone, and of T1 here, there is none."""
    brains = {"T1": ("18",), "T2": ("18", "19"), "FLAIR": ("18",)}
    cases = {f"healthy_labels_{b}_{name}": replace(case, contrast=name) for name, of in brains.items() for b in of}
    cases["varied_18_T2_0"] = cases["healthy_labels_18_T2"]
    config, maps = make_bundle.measured(made[0], cases, ["T2", "FLAIR"])
    parts = config.method.anomaly_map
    assert not parts["T1"].location_prior and parts["FLAIR"].location_prior
    for name, found in maps.items():
        part, shown = parts[cases[name].contrast], make_bundle.seen(cases[name], made[0])
        plain = replace(part, location_prior="")(shown, made[0].model)
        assert found.shape == case.mask.shape and plain[case.mask].min() > 0 and not found[~case.mask].any(), name
        lowered = part(shown, made[0].model)
        assert np.array_equal(lowered if cases[name].contrast == "T2" else plain, found), name
        assert (lowered < plain).any() == bool(part.location_prior)
    assert list(maps) == [*(n for n in cases if "T1" in n), *(n for n in cases if "T2" in n), "healthy_labels_18_FLAIR"]


def test_varied_scans_tell_how_large_maps_are_too(made, case):
    cases = {f"healthy_labels_18_{name}": replace(case, contrast=name) for name in ("T1", "T2", "FLAIR")}
    more = {**cases, "varied_18_T1_0": replace(case, volume=case.volume**2)}
    alone, both = (make_bundle.measured(made[0], each)[0].method.anomaly_map for each in (cases, more))
    assert alone["T1"].healthy != both["T1"].healthy and alone["T2"].healthy == both["T2"].healthy
    assert [part["T1"].healthy["residual"]["scans"] for part in (alone, both)] == [1, 2]


def test_each_brain_is_tried_with_what_the_others_say():
    """Two scans each of brains with a spot of score 3, and of one with twelve of score 5: only that breaks the promise.

    There are so many that a promise of half a finding bears the one brain that none of the others foretells.
    """
    scores, rng = {}, np.random.default_rng(0)
    for number in range(52):
        score = 0.5 + 0.1 * rng.random((8, 60, 60), np.float32)
        score[0, 0, 0] = 6  # too small for a finding
        sick = number // 2 == 3
        for k in range(12 if sick else 1):
            y, x = 4 + 14 * (k // 4), 4 + 14 * (k % 4)
            score[1:7, y : y + 6, x : x + 6] = 5 if sick else 3
        name = "healthy_labels_{}_T2" if number % 2 else "varied_{}_T2_0"
        scores[name.format(100 + number // 2)] = score
    expected, told = make_bundle.counted(scores)
    assert (expected.scans, expected.brains) == (52, 26) and told["scans"] == list(scores)
    assert told["made for 1"][6:8] == [12, 12] and max(told["made for 1"][:6]) <= 1
    assert set(told["made for 0.1"][:6]) == {None}, "with the sick brain among the others it cannot be promised"
    assert told["threshold"] > 3 and told["ml"][:6] == [0] * 6
    assert expected.at(told["threshold"], bounded=True) == told["bound"]


def test_scans_that_are_only_tried_are_judged_by_the_thresholds_of_the_others():
    def with_spots(number: int) -> np.ndarray:
        score = np.full((8, 60, 60), 0.5, np.float32)
        score[0, 59, 59] = 6  # too small for a finding
        for k in range(number):
            score[1:7, 2 + 9 * k : 8 + 9 * k, 2:8] = 4
        return score

    healthy = [with_spots(n) for n in (0, 2, 1)]
    thresholds = levels(healthy)
    counted = counts(healthy, thresholds, VOXEL_ML, make_bundle.LEAST_ML)
    expected = promised(thresholds, counted, make_bundle.LEAST_ML)
    found = make_bundle.made([with_spots(5), with_spots(0)], expected)
    assert found["made in others for 1"] == [5, 0] and found["made in others for 0.5"] == [0, 0]
    few = ExpectedFindings((0.5, 4.0), (2.0, 0.5), 3)
    promises = {"made in others for 0.5", "made in others for 1", "made in others for 3"}
    assert set(make_bundle.made([with_spots(5)], few)) == promises, "so few cannot promise less"
