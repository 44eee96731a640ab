import math

import pytest
import torch
from monai.networks.schedulers import Scheduler

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


def test_the_tables_are_on_the_device_of_the_network() -> None:
    schedule = CosineSchedule().to("meta")  # whose tensors cannot be copied to the CPU
    clean = torch.zeros(2, 1, 8, 8, device="meta")
    assert schedule.add_noise(clean, clean, torch.zeros(2, dtype=torch.long, device="meta")).shape == clean.shape
    assert CosineSchedule().state_dict() == {}


def test_it_is_the_schedule_of_monai_in_double_precision() -> None:
    theirs = Scheduler(1000, "cosine")
    ours = CosineSchedule()
    assert torch.allclose(ours.alphas_cumprod[1:], theirs.alphas_cumprod, atol=1e-6)
    clean, noise = torch.rand(2, 3, 1, 8, 8)
    timesteps = torch.tensor([1, 500, 1000])
    noisy = ours.add_noise(clean, noise, timesteps)
    assert torch.allclose(noisy, theirs.add_noise(clean, noise, timesteps - 1), atol=1e-3)
