"""The study of worst-case changes attacks the slices with the most lesion, and tells what came of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from adversarial import AIMS, HEAD, SIZES, rows
from restoring import Told
from tiny_model import GRID, tiny_method, trained

from conddiffusion_uad.method.brain import Volume


def test_each_aim_and_size_has_a_row_and_the_worst_is_worse_than_chance() -> None:
    torch.manual_seed(0)
    method = tiny_method()
    bundle = SimpleNamespace(adaptable=lambda: trained(Told.of(method)), method=method)
    volume = np.random.default_rng(0).uniform(0.3, 0.7, (8, 16, 16)).astype(np.float32)
    mask, truth = np.ones(volume.shape, bool), np.zeros(volume.shape, bool)
    truth[4, 5:9, 5:9] = True
    truth[:, 0] = True  # some in all slices
    examined = SimpleNamespace(
        prepared=Volume(volume, mask, GRID),
        mask=mask,
        case=SimpleNamespace(id="mslub-07-T2", contrast="T2"),
        truth_on_grid=lambda: truth,
    )
    found = [row.strip("| ").split(" | ") for row in rows(bundle, examined, most=2)]
    assert len(found) == len(AIMS) * len(SIZES) and {len(row) for row in found} == {HEAD.count(" | ") + 1}
    for _, aim, _, usual, chance, worst, alike in found:
        moved = AIMS[aim] * (float(worst) - float(usual))
        assert moved >= AIMS[aim] * (float(chance) - float(usual)) and float(alike) <= 1
    largest = [float(row[5]) - float(row[3]) for row in found if row[2] == "4/255"]
    assert largest[0] > 0.001 and largest[1] < -0.001


def test_healthy_scans_have_no_lesion_to_miss() -> None:
    method = tiny_method()
    bundle = SimpleNamespace(adaptable=lambda: Told.of(method), method=method)
    volume = np.full((8, 16, 16), 0.4, np.float32)
    examined = SimpleNamespace(
        prepared=Volume(volume, volume > 0, GRID),
        mask=volume > 0,
        case=SimpleNamespace(id="healthy", contrast="T2"),
        truth_on_grid=lambda: np.zeros(volume.shape, bool),
    )
    assert {row.split(" | ")[1] for row in rows(bundle, examined, most=1)} == {"false alarm"}
