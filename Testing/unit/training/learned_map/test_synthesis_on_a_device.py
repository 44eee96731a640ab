"""Synthetic scans are made on whatever device they are asked from, and there alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads
from simulated_card import SimulatedCard

from conddiffusion_uad.training.data.acquisition import Acquisition
from conddiffusion_uad.training.data.healthy_bank import Inputs
from conddiffusion_uad.training.learned_map.batches import Batch, Batches
from conddiffusion_uad.training.learned_map.material import Material, priors
from conddiffusion_uad.training.synthetic_anomalies import draws

LESION = torch.zeros(40, 50, 30, dtype=torch.uint8)
LESION[5:25, 5:35, 5:25] = 1


@pytest.fixture(scope="module")
def labels() -> Inputs:
    return head()


def source(kind: str, labels: Inputs) -> Inputs:
    if kind == "labels":
        return labels
    slices = slices_of_heads(80)  # as a scan: the same in every height
    return slices if kind == "slices" else Inputs("scan", "T1", slices.image, slices.tissue, np.zeros(0, np.uint8))


def part(material: Material, contrast: str, device: torch.device | str) -> Batch:
    return Batches(material, 0, contrast, device)._part(np.random.default_rng(3))


@pytest.mark.parametrize(
    ("kind", "contrast", "anomalies"),
    [
        ("labels", "FLAIR", "small"),
        ("labels", "T2", "tumor"),
        ("labels", "T1", "real"),
        ("scan", "T2", "mixed"),
        ("slices", "FLAIR", "large"),
    ],
)
def test_another_device_makes_the_same_batch_and_leaves_nothing_to_the_processor(
    kind, contrast, anomalies, labels, monkeypatch
):
    drawn = Acquisition.draw

    def everything(rng: np.random.Generator, *, real: bool) -> Acquisition:
        """Every fault that a scan can have."""
        faults = {"thickness": 5.0, "ghost": (1, 3, 0.2), "motion": (2, 20, 1.0), "rind": 0.9, "rim": (0.5, 0.2)}
        return replace(drawn(rng, real=real), smooth_noise=True, blur=0.5, **faults)

    monkeypatch.setattr(Acquisition, "draw", everything)
    monkeypatch.setattr(draws, "_KINDS", {anomalies: 1.0})
    material = Material({"source": source(kind, labels)}, [(LESION, (0.0, -20.0, 10.0))], priors([labels]))
    expected = part(material, contrast, "cpu")
    assert expected.label.any(), "there is an anomaly"
    with SimulatedCard() as card:
        made = part(material, contrast, card.device)
    for name in ("label", "weight", "balance"):
        assert torch.equal(card.fetched(getattr(made, name)), getattr(expected, name)), name
    for name in ("fine", "coarse", "brain"):
        assert torch.equal(card.fetched(getattr(made.inputs, name)), getattr(expected.inputs, name)), name


def test_the_simulated_card_is_as_strict_as_a_card():
    beside = torch.ones(3)
    with SimulatedCard() as card:
        there = torch.arange(3.0, device=card.device)
        assert float(there.sum()) == 3 and (2 * there).device == card.device
        assert torch.equal(there[torch.tensor([2, 0])].cpu(), torch.tensor([2.0, 0.0]))
        with pytest.raises(AssertionError, match="on the card and on the processor"):
            there + beside
        with pytest.raises(AssertionError, match="on the card and on the processor"):
            there[1:].add_(beside[1:])
        with pytest.raises((RuntimeError, TypeError, AssertionError)):
            there.numpy()
        with pytest.raises(AssertionError, match="on the processor"):
            torch.zeros(100, 1000)
    with pytest.raises(AssertionError, match="computed on the processor"):
        card.fetched(beside)
