"""The healthy inputs and lesion shapes that a training of the learned map draws from, held-out ones left aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.healthy_bank import Inputs
from conddiffusion_uad.training.synthetic_anomalies.draws import Shapes

# Files that no training sees: the judgement puts its own lesions into them.
HELD_OUT = (
    "training_seg_18.nii.gz", "training_seg_19.nii.gz", "training_seg_20.nii.gz", "brain5_labels.nii.gz",
    "IXI048-HH-1326-T1.nii.gz", "IXI049-HH-1358-T1.nii.gz",
)  # fmt: skip
HELD_OUT_SLICES = 4  # last ones of each folder of thin volumes
_PRIORS = (
    ("ventricles", "choroid plexus"), ("subarachnoid fluid",), ("cortex", "cerebellar cortex", "hippocampus"),
    ("thalamus", "caudate", "putamen", "pallidum", "brainstem"),
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What is trained on.

    Attributes:
        sources: Prepared healthy inputs by the name of their file or folder.
        shapes: Real lesions: uint8 masks (z, y, x), 1 mm, and the place of their first voxel, mm (z, y, x).
        priors: How often each of four groups of tissue is found at a place, float32 (4, 40, 48, 40), 4 mm.
    """

    sources: Mapping[str, Inputs]
    shapes: Shapes
    priors: torch.Tensor


def load(data: Path, cache: Path) -> Material:
    """Prepare the development data, or take it from the cache."""
    sources = {
        source.name: healthy_bank.cached(source, cache, prepared)
        for source, prepared in healthy_bank.recipe(data).items()
        if source.name not in HELD_OUT
    }
    folder = data / "train" / "lesion_shapes"
    shapes = [_shape(file) for kind in ("ms", "stroke") for file in sorted((folder / kind).glob("*.nii.gz"))]
    return Material(sources, shapes, priors([i for i in sources.values() if i.kind == "labels"]))


def _shape(file: Path) -> tuple[torch.Tensor, tuple[float, float, float]]:
    image = sitk.DICOMOrient(sitk.ReadImage(str(file), sitk.sitkUInt8), "LPS")
    filled = sitk.LabelShapeStatisticsImageFilter()
    filled.Execute(sitk.Cast(image > 0, sitk.sitkUInt8))
    box = filled.GetBoundingBox(1)
    image = sitk.RegionOfInterest(image > 0, box[3:], box[:3])
    return torch.from_numpy(sitk.GetArrayFromImage(image)), tuple(image.GetOrigin()[::-1])


def priors(labels: list[Inputs]) -> torch.Tensor:
    """Mean share of each group of tissue over label maps, at 4 mm."""
    names = list(TISSUES)
    total = np.zeros((len(_PRIORS), 40, 48, 40), np.float32)
    for inputs in labels:
        for k, group in enumerate(_PRIORS):
            share = np.isin(inputs.image, [1 + names.index(name) for name in group])
            total[k] += share.reshape(40, 4, 48, 4, 40, 4).mean((1, 3, 5), dtype=np.float32)
    return torch.from_numpy(total / max(len(labels), 1))
