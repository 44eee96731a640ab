"""A lesion diffusion as a file, with what it has learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from conddiffusion_uad.method.parts import require_known
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training import weights_file
from conddiffusion_uad.training.synthetic_anomalies.diffused.network import LesionDiffusion, LesionNetwork
from conddiffusion_uad.training.synthetic_anomalies.diffused.pairs import LesionSlice

NAME = "lesions.safetensors"
_KEY = "lesions"  # of the file's metadata


@dataclass(frozen=True)
class Learned:
    """What a lesion diffusion knows.

    Attributes:
        contrasts: Positions in ``protocol.job.CONTRASTS`` of those that it has learned lesions in.
        largest_mm2: Area of the largest lesions of a slice that it has learned from.
        scans: Names of the scans that it has learned from.
    """

    contrasts: tuple[int, ...]
    largest_mm2: float
    scans: tuple[str, ...]

    @classmethod
    def of(cls, slices: Sequence[LesionSlice], pixel_mm2: float) -> Learned:
        """What these slices teach."""
        contrasts = sorted({each.contrast for each in slices})
        largest = max(float(each.mask.sum()) for each in slices) * pixel_mm2
        return cls(tuple(contrasts), largest, tuple(sorted({each.scan for each in slices})))


@dataclass(frozen=True)
class LesionDrawer:
    """A trained lesion diffusion, in evaluation mode.

    Attributes:
        network: On its device.
        learned: What it knows.
        digest: SHA-256 of its file.
    """

    network: LesionDiffusion
    learned: Learned
    digest: str


def save(file: Path, model: LesionDiffusion, network: LesionNetwork, learned: Learned) -> None:
    """Write the weights in full precision."""
    told = {
        "network": {"denoiser": dict(network.denoiser), "halo": network.halo},
        "contrasts": [CONTRASTS[position] for position in learned.contrasts],
        **{name: value for name, value in asdict(learned).items() if name != "contrasts"},
    }
    weights_file.write(file, model.state_dict(), _KEY, told)


@cache
def load(file: Path, device: torch.device = torch.device("cpu")) -> LesionDrawer:  # noqa: B008 (it never changes)
    """The lesion diffusion of a file on a device; read once.

    Raises:
        BadInput: ``bad_lesions`` when the file is missing, damaged, or not of a lesion diffusion.
    """
    try:
        weights, told, digest = weights_file.read(file, _KEY)
        network, learned = _told(json.loads(told or "{}"))
        model = LesionDiffusion(network)
        model.load_state_dict(weights)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(
            "bad_lesions",
            f"{file} cannot be used to draw lesions: {error}.",
            "Give the file that `train lesions` made.",
        ) from error
    return LesionDrawer(model.requires_grad_(False).eval().to(device), learned, digest)


def _told(values: dict[str, Any]) -> tuple[LesionNetwork, Learned]:
    require_known(values, ["network", "contrasts", "largest_mm2", "scans"], "it")
    contrasts = tuple(CONTRASTS.index(name) for name in values["contrasts"])
    return LesionNetwork(**values["network"]), Learned(contrasts, values["largest_mm2"], tuple(values["scans"]))
