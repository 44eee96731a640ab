"""Make the shipped atlas from the MNI152 maps that come inside nilearn's wheel.

Usage: ``python make_atlas.py`` (needs nilearn; nothing is downloaded). Writes beside itself

* ``mni152_t1_brain_2mm.nii.gz``: T1-weighted brain, uint8, 2 mm, 0 outside the brain;
* ``mni152_brain_mask_2mm.nii.gz``: its brain mask, uint8, ventricles included.

Both keep MNI152 world coordinates and have their axes along L, P, S.
"""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

SPACING_MM = 2.0
MARGIN_MM = 8.0  # of empty voxels around the brain, so that its outline is part of the template
TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


def template() -> sitk.Image:
    """Return the 1 mm T1 brain of nilearn's wheel, float32, axes along L, P, S."""
    import nilearn

    path = Path(nilearn.__file__).parent / "datasets" / "data" / TEMPLATE
    return sitk.DICOMOrient(sitk.ReadImage(str(path), sitk.sitkFloat32), "LPS")


def solid(t1: sitk.Image) -> sitk.Image:
    """Return the brain of a skull-stripped template without holes, uint8."""
    closed = sitk.BinaryMorphologicalClosing(t1 > 0, [2, 2, 2])
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(closed)) == 1
    return sitk.BinaryFillhole(largest)


def lattice(mask: sitk.Image) -> sitk.Image:
    """Return an empty image at SPACING_MM that holds the mask and a margin."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    first, size = shape.GetBoundingBox(1)[:3], shape.GetBoundingBox(1)[3:]
    origin = [o - MARGIN_MM for o in mask.TransformIndexToPhysicalPoint(first)]
    blank = sitk.Image([int((n + 2 * MARGIN_MM) / SPACING_MM) for n in size], sitk.sitkFloat32)
    blank.SetSpacing([SPACING_MM] * 3)
    blank.SetOrigin(origin)
    return blank


def main() -> None:
    """Write the two files."""
    t1 = template()
    mask = solid(t1)
    grid = lattice(mask)
    sigma = SPACING_MM / 2.355  # a point spread of one new voxel keeps the coarser image free of aliases
    smooth = sitk.SmoothingRecursiveGaussian
    coarse = sitk.Resample(smooth(t1, sigma), grid, sitk.Transform(), sitk.sitkLinear)
    share = sitk.Resample(smooth(sitk.Cast(mask, sitk.sitkFloat32), sigma), grid, sitk.Transform(), sitk.sitkLinear)
    inside = sitk.BinaryFillhole(share >= 0.5)
    brain = sitk.Mask(sitk.Cast(sitk.Clamp(coarse, lowerBound=0, upperBound=255), sitk.sitkUInt8), inside)
    here = Path(__file__).parent
    sitk.WriteImage(brain, str(here / "mni152_t1_brain_2mm.nii.gz"), True)
    sitk.WriteImage(inside, str(here / "mni152_brain_mask_2mm.nii.gz"), True)


if __name__ == "__main__":
    main()
