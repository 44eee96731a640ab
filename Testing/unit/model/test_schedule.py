import math

import pytest
import torch

from conddiffusion_uad.model.schedule import CosineSchedule


@pytest.mark.parametrize(("level", "signal", "noise"), [(250, 0.920, 0.391), (500, 0.703, 0.711), (750, 0.380, 0.925)])
def test_published_amplitudes(level: int, signal: float, noise: float) -> None:
    schedule = CosineSchedule()
    found = [schedule.sqrt_alphas_cumprod[level].item(), schedule.sqrt_one_minus_alphas_cumprod[level].item()]
    assert found == pytest.approx([signal, noise], abs=6e-4)


def test_closed_form_of_the_cosine() -> None:
    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    alpha_bar = CosineSchedule().alphas_cumprod
    assert [alpha_bar[t].item() for t in (0, 1, 400, 990)] == pytest.approx([f(t) / f(0) for t in (0, 1, 400, 990)])
    assert (alpha_bar[1:] / alpha_bar[:-1]).min() >= 1 - 0.999 - 1e-9


def test_noising_keeps_the_power_of_standard_signal_and_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 8, 1, 64, 64, generator=generator)
    noisy = CosineSchedule().add_noise(clean, noise, torch.arange(100, 900, 100))
    assert noisy.var().item() == pytest.approx(1.0, rel=0.05)
    assert torch.equal(CosineSchedule().add_noise(clean, noise, torch.zeros(8, dtype=torch.long)), clean)
