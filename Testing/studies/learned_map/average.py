"""The average of two states of a training of the learned map, as a third that may have what is good in both.

    python Testing/studies/learned_map/average.py FIRST.safetensors SECOND.safetensors --second 0.3 --output FILE

Weights before and after a fine-tuning lie in one valley of the loss, so that what is between them is a network, too
(Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from conddiffusion_uad.training import weights_file


def averaged(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Each tensor of ``first``, and ``share`` of the way to that of ``second``, in half precision."""
    return {name: torch.lerp(first[name].float(), second[name].float(), share).half() for name in first}


def main() -> None:
    """Read two files that ``--export`` wrote and write a third, with the step of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--second", dest="share", type=float, required=True, help="share of the second, 0 to 1")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if not 0 <= options.share <= 1:
        parser.error("--second is from 0 to 1")
    (first, step, _), (second, *_) = (weights_file.read(file, "step") for file in (options.first, options.second))
    weights_file.write(options.output, averaged(first, second, options.share), "step", int(step or 0))


if __name__ == "__main__":
    main()
