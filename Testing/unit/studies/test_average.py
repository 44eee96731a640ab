"""Between two states of a training lies a third."""

import sys

import pytest
import torch
from average import averaged, main

from conddiffusion_uad.training import weights_file


def test_an_average_lies_between_by_its_share(tmp_path, monkeypatch):
    first, second = ({"network.w": torch.full((2, 3), value)} for value in (1.0, 3.0))
    assert averaged(first, second, 0.25)["network.w"].unique().tolist() == [1.5]
    files = [tmp_path / name for name in ("first.safetensors", "second.safetensors", "third.safetensors")]
    for file, weights, step in zip(files, (first, second), (40, 20), strict=False):
        weights_file.write(file, weights, "step", step)
    monkeypatch.setattr(sys, "argv", ["average", *map(str, files[:2]), "--second", "0.5", "--output", str(files[2])])
    main()
    made, step, _ = weights_file.read(files[2], "step")
    assert step == "40" and made["network.w"].dtype == torch.float16
    assert made["network.w"].mean() == pytest.approx(2)
