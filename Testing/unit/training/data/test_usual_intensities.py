"""Intensities of label maps within what real scans show."""

import numpy as np
import pytest

from conddiffusion_uad.training.data import signal_equations, usual_intensities
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.signal_equations import Palette


def palette(contrast: str, gray: float, fluid: float = 0.0, white: float = 0.5) -> Palette:
    return Palette(contrast, np.zeros(0, np.float32), fluid, gray, white)


@pytest.mark.parametrize(
    ("contrast", "gray", "usual"),
    [
        ("FLAIR", 0.66, True),
        ("FLAIR", 0.95, False),  # cortex 1.9 times white matter
        ("FLAIR", 0.40, False),  # cortex darker than white matter
        ("T1", 0.30, True),
        ("T1", 0.12, False),  # nearly as dark as fluid
    ],
)
def test_the_cortex_is_as_bright_as_on_real_scans(contrast, gray, usual):
    assert usual_intensities.usual(palette(contrast, gray)) is usual
    assert usual_intensities.usual(palette(contrast, gray + 1, 1.0, 1.5)) is usual, "only what is beside it counts"


@pytest.mark.parametrize("contrast", ["T1", "T2", "FLAIR"])
def test_much_of_what_is_drawn_freely_has_a_usual_cortex(contrast):
    rng = np.random.default_rng(0)
    share = np.mean([usual_intensities.usual(signal_equations.draw(contrast, rng)) for _ in range(300)])
    assert 0.3 < share < 1


@pytest.mark.parametrize("contrast", ["T1", "T2", "FLAIR"])
def test_solid_tissues_lie_within_the_ranges_of_real_scans(contrast):
    rng = np.random.default_rng(1)
    for _ in range(200):
        drawn = usual_intensities.draw(contrast, rng)
        assert usual_intensities.usual(drawn) and drawn.tissues.dtype == np.float32 and drawn.tissues.min() >= 0
        tissues = dict(zip(TISSUES, drawn.tissues.tolist(), strict=True))
        assert tissues["white matter"] == pytest.approx(drawn.white) and tissues["cortex"] == pytest.approx(drawn.gray)
        for name, ((start, end), low, high) in usual_intensities.PLACES[contrast].items():
            place = (tissues[name] - tissues[start]) / (tissues[end] - tissues[start])
            assert low - 1e-3 <= place <= high + 1e-3, name


def test_the_pallidum_is_dark_on_t2_but_not_black_and_the_cerebellum_no_dark_mass():
    rng, names = np.random.default_rng(2), list(TISSUES)
    for _ in range(200):
        drawn = usual_intensities.draw("T2", rng)
        pallidum = drawn.tissues[names.index("pallidum")]
        assert 0.1 * drawn.white < pallidum < drawn.gray
        drawn = usual_intensities.draw("T1", rng)
        assert drawn.tissues[names.index("cerebellar cortex")] > drawn.gray - 0.05 * (drawn.white - drawn.gray)


def test_a_draw_comes_again_and_deep_tissue_goes_together():
    draws = [usual_intensities.draw("T1", np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(draws[0].tissues, draws[1].tissues) and not np.array_equal(draws[0].tissues, draws[2].tissues)
    rng, names, places = np.random.default_rng(5), list(TISSUES), []
    for _ in range(200):
        drawn = usual_intensities.draw("T1", rng)
        deep = drawn.tissues[[names.index("thalamus"), names.index("putamen")]]
        places.append((deep - drawn.gray) / (drawn.white - drawn.gray))
    assert np.corrcoef(np.transpose(places))[0, 1] > 0.5


def test_there_are_none_of_an_unknown_contrast():
    with pytest.raises(KeyError):
        usual_intensities.draw("random", np.random.default_rng(0))
