"""Synthetic anomalies, of which a share is drawn by a diffusion model that has learned real lesions.

Paper: Du et al. 2023, "ArSDM: Colonoscopy Images Synthesis with Adaptive Refinement Semantic Diffusion Models",
arXiv:2309.01111.

Where the objective ``synthetic_anomalies`` has put its blobs into a slice, the lesion diffusion draws into the healthy
slice instead, with the blobs as mask: see ``training.synthetic_anomalies.diffused``. Slices of contrasts that it has
not learned, and with blobs larger in all than any lesions that it has learned from, keep theirs.

What differs: the paper adds drawn pictures to the training set of a segmenter; here they are what a model learns to
restore healthy slices from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.objectives.synthetic_anomalies import SyntheticAnomalies
from conddiffusion_uad.training.synthetic_anomalies.diffused.lesion_file import LesionDrawer, load
from conddiffusion_uad.training.table import require_range


@dataclass(frozen=True)
class DiffusedAnomalies(SyntheticAnomalies):
    """Give back healthy slices from under noise and anomalies, some of them drawn by a lesion diffusion.

    Attributes:
        lesions: The file that ``train lesions`` made.
        drawn: Share of the slices with anomalies whose anomalies are drawn, where they can be.
        steps: Of the diffusion.
    """

    lesions: str = ""
    drawn: float = 0.5
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self.drawn, 0, 1, "drawn")
        require_range(self.steps, 1, STEPS, "steps")

    def beside(self, folder: Path) -> DiffusedAnomalies:
        """The same with a relative file taken from a folder."""
        return replace(self, lesions=str(folder / self.lesions)) if self.lesions else self

    def drawer(self, device: torch.device | str = "cpu") -> LesionDrawer:
        """What draws. Raises BadInput: ``no_lesions`` when no file is named, ``bad_lesions`` when it cannot be used."""
        if not self.lesions:
            raise BadInput(
                "no_lesions",
                "Nothing is said of what draws the anomalies of this recipe.",
                "Make a file with `train lesions`, and give it with --lesions.",
            )
        return load(Path(self.lesions), torch.device(device))

    def _with_anomalies(self, slabs: Slabs, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        corrupted, where = super()._with_anomalies(slabs, generator)
        chosen = torch.rand(len(slabs), generator=generator) < self.drawn
        seed = int(torch.randint(2**31, (), generator=generator))
        drawer = self.drawer(slabs.volume.device)
        mask = where > 0.5
        x, y, _ = slabs.view.grid.spacing
        areas = mask.flatten(1).sum(dim=1).cpu() * x * y
        known = torch.isin(slabs.contrast.cpu(), torch.tensor(drawer.learned.contrasts))
        index = torch.nonzero(chosen & known & (areas > 0) & (areas <= drawer.learned.largest_mm2)).flatten()
        if len(index):
            corrupted[index] = self._drawn(drawer, slabs[index], mask[index], seed)
            where[index] = mask[index].to(where)
        return corrupted, where

    def _drawn(self, drawer: LesionDrawer, slabs: Slabs, mask: torch.Tensor, seed: int) -> torch.Tensor:
        """Slabs (B, D, H, W) with lesions, drawn into each of their slices from the same noise."""
        count, depth, height, width = slabs.volume.shape
        image = slabs.volume.reshape(count * depth, 1, height, width)
        noise = torch.randn(count, 1, height, width, generator=torch.Generator().manual_seed(seed)).to(image)
        masks, noises = (values.repeat_interleave(depth, dim=0) for values in (mask, noise))
        contrast = slabs.contrast.to(image.device).repeat_interleave(depth)
        drawn = drawer.network.draw(image, masks, contrast, noises, self.steps)
        return drawn.view(count, depth, height, width)
