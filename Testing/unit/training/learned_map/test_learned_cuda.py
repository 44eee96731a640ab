"""The learned map on a graphics card."""

import numpy as np
import pytest
import torch
from made_up_head import head, slices_of_heads

from conddiffusion_uad.method.anomaly_map.learned import Learned, LearnedMap, whole_place
from conddiffusion_uad.training.data import signal_equations
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.data.healthy_sources import LabelSource
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.learned_map import curve
from conddiffusion_uad.training.learned_map.batches import Batches
from conddiffusion_uad.training.learned_map.loop import Settings, Training
from conddiffusion_uad.training.learned_map.material import Material, priors
from conddiffusion_uad.training.learned_map.scans import Scan, axis
from conddiffusion_uad.training.synthetic_anomalies import draws
from conddiffusion_uad.training.synthetic_anomalies.place import Places

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_a_card_trains_and_its_checkpoint_goes_on_on_the_processor(tmp_path):
    labels = head()
    batches = Batches(Material({"head": labels}, [], priors([labels])), 0)
    card = Training(batches, Settings(reconstructed=0), tmp_path, device="cuda", workers=2)
    card.run(last=3)
    processor = Training(batches, Settings(reconstructed=0), tmp_path)
    assert processor.resume() and processor.step == 3
    assert np.isfinite(processor.advance(batches[3]))


def test_a_card_trains_on_batches_that_it_makes_itself(tmp_path):
    labels = head()
    material = Material({"head": labels, "slices": slices_of_heads()}, [], priors([labels]))
    batches = Batches(material, 0, device="cuda")
    batch = batches[0]
    assert {part.device.type for part in (*vars(batch.inputs).values(), batch.label, batch.balance)} == {"cuda"}
    Training(batches, Settings(reconstructed=0), tmp_path, device="cuda").run(last=2)
    assert all(np.isfinite(line["loss"]) for line in curve.lines(tmp_path / curve.CURVE))


def test_a_card_makes_the_scans_of_the_processor():
    """With the same anomalies; a voxel between two labels may fall to either, and then others would be drawn."""
    labels, made, anomalies = head(), [], []
    for device in ("cpu", "cuda"):
        rng = np.random.default_rng(2)
        scan = Scan(LabelSource(labels, signal_equations.draw("T2", rng, 0.0), Folia.draw(rng)), False, rng)
        grid = Lattice(axis(2)[10:30], axis(1), axis(0), device)
        healthy = scan.healthy(grid, [])
        anomalies = anomalies or [
            each for _ in range(4) for each in draws.draw(scan.palette, Places(healthy.tissue, grid), [], rng)[0]
        ]
        image, label = scan.changed(healthy, grid, anomalies)
        rng = np.random.default_rng(3)
        made.append(scan.finished(image, healthy, grid, image, label, healthy, grid, rng))
    for name, one, other, most in zip(("volume", "rank", "mask", "label"), *made, (0.02, 0.02, 0, 0), strict=True):
        away = (one.float() - other.cpu().float()).abs() > most
        assert float(away.float().mean()) < 0.002, name
    assert made[0][3].any() and made[0][0].any()


def test_a_card_makes_the_map_of_the_processor():
    torch.manual_seed(0)
    weights, rng = Learned().build().eval(), np.random.default_rng(0)
    mask = np.zeros((6, 192, 160), bool)
    mask[:, 20:170, 20:140] = True
    volume = np.where(mask, rng.random(mask.shape), 0).astype(np.float32)
    maps = []
    for device in ("cpu", "cuda"):
        moved = weights.to(device)
        place = whole_place(FINE, moved.priors)
        maps.append(LearnedMap(moved.network, place)(volume, mask, "T1", heights=np.arange(30, 36)))
    assert np.allclose(*maps, atol=0.01)
