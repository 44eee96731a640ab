"""Pre-trained weights arrive in the encoder, and others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import tiny_config

from conddiffusion_uad.model.encoder import build_encoder
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.encoder_file import load_encoder, save_encoder

CONFIG = tiny_config().method.condition.network


def test_weights_arrive_in_the_encoder_without_its_head(tmp_path: Path) -> None:
    given, file = build_encoder(CONFIG, 1), tmp_path / "encoder.safetensors"
    given.fc = None  # as pre-training leaves it
    save_encoder(file, given, CONFIG)
    model = tiny_config().build()
    head = {name: value.clone() for name, value in model.encoder.fc.state_dict().items()}
    load_encoder(file, model.encoder, CONFIG)
    arrived, weights = model.encoder.state_dict(), given.state_dict()
    assert set(arrived) == {*weights, "fc.weight", "fc.bias"}
    assert all(torch.equal(arrived[name], weights[name]) for name in weights)
    assert all(torch.equal(model.encoder.fc.state_dict()[name], head[name]) for name in head)


def test_weights_of_another_encoder_or_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "encoder.safetensors", build_encoder(CONFIG, 4), CONFIG)
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04N.")
    wider = {**CONFIG, "block_inplanes": [16, 32, 64, 128]}
    diverged = build_encoder(wider, 4)
    torch.nn.init.constant_(diverged.conv1.weight, torch.nan)
    save_encoder(tmp_path / "diverged.safetensors", diverged, wider)
    for name in ("encoder.safetensors", "pickle.pt", "missing.safetensors", "diverged.safetensors"):
        with pytest.raises(BadInput) as caught:
            load_encoder(tmp_path / name, build_encoder(wider, 4), wider)
        assert caught.value.code == "bad_encoder"
