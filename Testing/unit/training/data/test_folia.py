"""The sheets of the cerebellum in a label map."""

import numpy as np
import pytest
import torch

from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.folia import CENTER, Folia
from conddiffusion_uad.training.data.healthy_bank import LABELS, Inputs
from conddiffusion_uad.training.data.healthy_sources import LabelSource
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.data.signal_equations import Palette

STRAIGHT = ()
NONE = np.zeros(0, np.uint8)


def along(line: np.ndarray) -> torch.Tensor:
    """Points at distances in mm behind the center, (3, n)."""
    points = torch.tensor(CENTER, dtype=torch.float32)[:, None].repeat(1, len(line))
    points[1] += torch.from_numpy(line).float()
    return points


def test_sheets_of_fluid_and_white_matter_take_turns():
    fluid, white = Folia(4.0, 0.5, 0.25, STRAIGHT).shares(along(np.arange(0, 40, 1.0)))
    assert fluid[::4].numpy() == pytest.approx(0.5, abs=1e-4) and white[2::4].numpy() == pytest.approx(0.25, abs=1e-4)
    assert not ((fluid > 1e-6) & (white > 1e-6)).any()


def test_a_draw_comes_again_and_bends_its_sheets():
    points = along(np.linspace(20, 60, 400))
    first, again, other = (Folia.draw(np.random.default_rng(s)) for s in (0, 0, 1))
    assert torch.equal(first.shares(points)[0], again.shares(points)[0])
    assert not torch.allclose(first.shares(points)[0], other.shares(points)[0], atol=0.05)
    straight = Folia(first.period, first.fluid, first.white, STRAIGHT)
    assert not torch.allclose(first.shares(points)[0], straight.shares(points)[0], atol=0.05)


def test_only_cerebellar_cortex_has_them():
    names = list(TISSUES)
    classes = np.full(LABELS.size[::-1], 1 + names.index("cortex"), np.uint8)
    classes[:80] = 1 + names.index("cerebellar cortex")
    means = np.full(len(names), 0.5, np.float32)
    palette = Palette("T1", means, 0.0, 0.5, 1.0)
    lattice = Lattice(torch.arange(-40.0, 60.0, 4.0), torch.arange(20.0, 60.0), torch.arange(-20.0, 20.0))
    points = torch.stack(torch.meshgrid(lattice.z, lattice.y, lattice.x, indexing="ij"))
    inputs = Inputs("labels", "", classes, NONE, NONE)
    plain = LabelSource(inputs, palette).sample(points)
    sheets = LabelSource(inputs, palette, Folia(4.0, 0.5, 0.5, STRAIGHT)).sample(points)
    below = lattice.z < 4.5  # the lower 80 slices
    assert torch.all(plain.image == 0.5) and torch.all(sheets.image[~below] == 0.5)
    assert sheets.image[below].min() < 0.3 and sheets.image[below].max() > 0.7
    assert torch.equal(sheets.tissue, plain.tissue) and torch.equal(sheets.brain, plain.brain)
