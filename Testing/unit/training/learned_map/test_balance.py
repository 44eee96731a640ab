"""Findings count alike in the loss of the learned map: anomalies, and healthy places that are taken for one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from conddiffusion_uad.method.anomaly_map.learned_inputs import (
    COARSE_CHANNELS,
    FINE_CHANNELS,
    NEIGHBORS,
    PRIORS,
    SliceInputs,
)
from conddiffusion_uad.training.learned_map import loop
from conddiffusion_uad.training.learned_map.balance import balanced, suspected
from conddiffusion_uad.training.learned_map.batches import Batch, Batches
from conddiffusion_uad.training.learned_map.material import Material
from conddiffusion_uad.training.learned_map.scans import Slab


def test_lesions_of_a_slice_count_alike_within_limits_for_a_voxel():
    label = torch.zeros(3, 1, 64, 64)
    label[0, 0, 2, 2] = 1  # one voxel
    label[0, 0, 10:15, 10:16] = label[0, 0, 15, 16] = 1  # 31, one of them across a corner
    label[0, 0, 20:60, 10:60] = 1  # 2000
    label[1] = 1  # 4096
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight = balanced(label)
    assert weight[0, 0, 2, 2] == 100 and weight[0, 0, 40, 40] == 3 and (weight[1] == 3).all(), "the limits"
    assert float(weight[0, 0, 8:18, 8:18][label[0, 0, 8:18, 8:18] > 0].sum()) == pytest.approx(1500)
    assert (weight[label == 0] == 1).all() and (weight[2] == 1).all()


def test_a_small_lesion_that_is_missed_costs_as_much_as_a_large_one():
    logits = torch.full((1, 1, 64, 64), -3.0)
    costs = []
    for size in (0, 6, 20):
        label = torch.zeros(1, 1, 64, 64)
        label[..., 30 : 30 + size, 30 : 30 + size] = 1
        costs.append(cost(logits, label))
    assert costs[1] - costs[0] == pytest.approx(costs[2] - costs[0], rel=0.02)


def test_a_false_finding_counts_as_much_as_a_missed_lesion_whatever_its_size():
    nothing, missed = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    missed[..., 30:36, 30:36] = 1
    costs = []
    for size in (6, 20):
        logits = torch.full((1, 1, 64, 64), -9.0)
        logits[..., 30 : 30 + size, 30 : 30 + size] = 3.0
        costs.append(cost(logits, nothing))
    logits = torch.full((1, 1, 64, 64), -9.0)
    logits[..., 30:36, 30:36] = -3.0
    assert costs == pytest.approx([cost(logits, missed)] * 2, rel=0.02)


def test_only_what_is_flagged_in_healthy_brain_is_a_false_finding():
    label, brain = torch.zeros(3, 1, 64, 64), torch.ones(3, 1, 64, 64)
    label[0, 0, 20:30, 20:30] = 1
    brain[0, 0, 50:] = 0
    logits = torch.full((3, 1, 64, 64), -9.0)
    logits[2] = 3.0
    logits[0, 0, 20:34, 20:34] = 3.0  # reaches beyond the lesion
    logits[0, 0, 40:43, 40:50] = logits[0, 0, 43, 50] = 3.0  # a false finding of 31, one of them across a corner
    logits[0, 0, 45:60, 5:10] = 3.0  # 25 of it in the brain
    logits[1, 0, 0, 0] = -0.5  # .38 probable
    logits[1, 0, 0, 5] = -1.0  # .27 probable
    logits[1, 0, 10:60] = 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight = suspected(logits.requires_grad_(), label, brain)
    assert (weight[0, 0, :36] == 1).all(), "touches a lesion"
    assert weight[0, 0, 41, 45] == weight[0, 0, 43, 50] == pytest.approx(1500 / 31)
    assert weight[0, 0, 46, 7] == 1500 / 25 and weight[0, 0, 55, 7] == 1
    assert weight[1, 0, 0, 0] == 100 and weight[1, 0, 0, 5] == 1 and (weight[1:, 0, 10:] == 1).all(), "the limits"
    assert not weight.requires_grad


def cost(logits: torch.Tensor, label: torch.Tensor, false_findings: bool = True) -> float:
    """The loss in one slice that is all brain, and known."""
    brain = torch.ones(1, 1, 64, 64)
    inputs = SliceInputs(torch.zeros(1, FINE_CHANNELS, 64, 64), torch.zeros(1, COARSE_CHANNELS, 32, 32), brain)
    return float(loop.loss(logits, Batch(inputs, label, brain, balanced(label), label > 0), false_findings))


def test_false_findings_can_count_as_any_healthy_place():
    label, logits = torch.zeros(1, 1, 64, 64), torch.full((1, 1, 64, 64), -9.0)
    label[..., 10:20, 10:20], logits[..., 40:44, 40:44] = 1, 3.0
    finding = 16 * float(torch.nn.functional.softplus(torch.tensor(3.0))) / 64**2
    assert cost(logits, label) - cost(logits, label, false_findings=False) == pytest.approx(
        (1500 / 16 - 1) * finding, rel=1e-4
    )


@pytest.mark.parametrize("sick", [NEIGHBORS, NEIGHBORS + 1])
def test_the_faint_end_of_an_anomaly_in_the_next_slice_and_what_nobody_knows_are_spared(sick):
    size = (2 * NEIGHBORS + 2, 64, 64)
    mask, label, weight = torch.ones(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool), torch.ones(size)
    label[sick, 10:20, 10:20] = True
    weight[:, 40:44, 40:44] = 0
    mask[:, :, 60:] = False
    slab = Slab(torch.rand(size), torch.rand(size), mask, label, weight, "T1", None)
    batches = Batches(Material({}, [], torch.zeros(PRIORS, 40, 48, 40)), 0)
    batch = batches._batch(slab, np.random.default_rng(0))
    assert batch.spared[:, 0, 15, 15].all() and batch.spared[:, 0, 42, 42].all()
    assert batch.label.sum() == 100 and not batch.spared[..., 60:].any() and batch.spared.sum() == 2 * (100 + 16)
    logits = torch.full(batch.label.shape, -9.0)
    logits[:, :, 12:22, 12:22] = logits[:, :, 42:46, 42:46] = logits[:, :, 50:56, 5:11] = 3.0
    counts = suspected(logits, batch.spared, batch.inputs.brain)
    assert (counts[:, :, :50] == 1).all()
    assert counts[:, :, 50:56, 5:11].unique().tolist() == pytest.approx([1500 / 36])
