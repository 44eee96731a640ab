"""The learned map on a graphics card."""

import numpy as np
import pytest
import torch
from made_up_head import head

from conddiffusion_uad.method.anomaly_map.learned import Learned, LearnedMap, whole_place
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.learned_map.batches import Batches
from conddiffusion_uad.training.learned_map.loop import Settings, Training
from conddiffusion_uad.training.learned_map.material import Material, priors

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
