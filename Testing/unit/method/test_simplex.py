import pytest
import torch

from conddiffusion_uad.method.noise.simplex import OCTAVE_STD, fractal_std, simplex_noise


@pytest.fixture(scope="module")
def fields() -> torch.Tensor:
    return simplex_noise(range(300), 96, 80)


def test_moments_are_those_of_the_closed_form(fields: torch.Tensor) -> None:
    assert fields.shape == (300, 1, 96, 80)
    assert fields.mean().item() == pytest.approx(0.0, abs=0.01)
    assert fields.std().item() == pytest.approx(fractal_std(), rel=0.03)
    assert fractal_std() == pytest.approx(0.59)


def test_one_octave_has_its_closed_form_variance() -> None:
    octave = simplex_noise(range(200), 64, 64, octaves=1, wavelength=16.0)
    assert octave.std().item() == pytest.approx(OCTAVE_STD, rel=0.03)


def test_no_place_is_quieter_than_others(fields: torch.Tensor) -> None:
    spread = fields.std(dim=0)
    assert spread.min() > 0.7 * fractal_std()
    assert spread.max() < 1.3 * fractal_std()


def test_every_slice_has_a_field_of_its_own(fields: torch.Tensor) -> None:
    flat = fields.flatten(1) - fields.flatten(1).mean(1, keepdim=True)
    correlation = torch.corrcoef(flat[:40])
    correlation.fill_diagonal_(0)
    assert correlation.abs().max() < 0.5
    assert correlation.mean().abs() < 0.02


def test_neighbors_agree_and_distant_pixels_do_not() -> None:
    octave = simplex_noise(range(400), 4, 80, octaves=1, wavelength=16.0)[:, 0, 0]
    pair = torch.corrcoef(octave.T)
    assert pair[20, 21] > 0.95
    assert pair[20, 20 + 32].abs() < 0.2  # beyond twice the reach of a vertex, 2 * 16 / sqrt(2) = 22.6 pixels


def test_seed_decides_the_field_and_nothing_else_does(fields: torch.Tensor) -> None:
    assert torch.equal(simplex_noise([7], 96, 80), fields[7:8])
    assert not torch.equal(simplex_noise([7], 96, 80), simplex_noise([8], 96, 80))
