"""Figures that tell how good a prepared scan is: what it shows of the brain, noise, ghosts, shading, tissue levels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from conddiffusion_uad.method.intensity import ranked
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.background import MAD_TO_SIGMA
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.preprocessing.preparation import Prepared
from conddiffusion_uad.preprocessing.skull import DEEPBET

FLUID, GRAY, WHITE = 1, 2, 3
FLUID_DEPTH_MM = 16.0  # below the brain's surface: ventricles, not sulci, which differ between brains
TISSUE_DEPTH_MM = 6.0
LEAST_VOXELS = 50  # of a tissue, for its level to be known
WINDOW = 5  # pixels; noise is looked for where the image is flattest
FLATTEST = 10.0  # percentile
LOOK_MM = 2.0  # voxel size at which air is looked at
HEAD_MM = 25.0  # around the brain, above its middle, all of the head lies
LEAST_AIR = 200  # voxels beside a head, for its ghosts to be measured
ANATOMY_BINS = 16  # of the atlas' intensities
ANATOMY_RIM = 2  # voxels of the brain's rim that say nothing about its inside


@dataclass(frozen=True)
class Quality:
    """Figures of a scan.

    Attributes:
        coverage: Share of the atlas' brain inside the scan's field of view, 0 to 1.
        filled: Share of the atlas' brain inside the scan's brain mask, 0 to 1.
        overlap: Dice coefficient of the two brains within the field of view, 0 to 1.
        brain_ml: Volume of the brain mask, ml.
        anatomy: Share of the variance of the brain's ranked intensities that the atlas' intensities explain, 0 to 1,
            whatever the contrast (a correlation ratio); None on a grid too coarse to tell.
        noise: Standard deviation where the brain is flattest, as a share of the brain's intensity range.
        ghosting: Level of the air beside the head minus that of the air in the corners, as a share of the brain's
            level; None where the scan shows no air.
        shading: Ratio of the 99th to the 1st percentile of the bias field in the brain.
        spread: Robust standard deviation of white matter, as a share of the brain's intensity range.
        fluid: Median of the ventricles, 0 to 1 of the brain's intensity range; None where the scan does not show them.
        gray: Median of gray matter, likewise.
        white: Median of white matter, likewise.
    """

    coverage: float
    filled: float
    overlap: float
    brain_ml: float
    anatomy: float | None
    noise: float
    ghosting: float | None
    shading: float
    spread: float | None
    fluid: float | None
    gray: float | None
    white: float | None


def measure(prepared: Prepared) -> Quality:
    """The figures of a prepared scan."""
    mask = orient(prepared.native_mask).image
    brain = sitk.GetArrayViewFromImage(mask) > 0
    field = prepared.field_in_brain
    dark, bright = np.percentile(field, [1, 99])
    coverage, filled = shown(prepared, brain)
    levels, spread = tissues(prepared)
    normalized = prepared.way.normalized
    return Quality(
        coverage=coverage,
        filled=filled,
        overlap=prepared.registration.quality,
        brain_ml=float(brain.sum() * np.prod(mask.GetSpacing()) / 1000),
        anatomy=anatomy(prepared),
        noise=noise(prepared.way.leveled.image, brain) / (normalized.high - normalized.low),
        ghosting=ghosting(prepared.way.leveled.image, brain) if prepared.skull_method == DEEPBET else None,
        shading=float(bright / dark),
        spread=spread,
        fluid=levels[FLUID],
        gray=levels[GRAY],
        white=levels[WHITE],
    )


def shown(prepared: Prepared, brain: np.ndarray) -> tuple[float, float]:
    """Shares of the atlas' brain inside the field of view and inside the brain mask (z, y, x) of the turned scan."""
    image, place = prepared.way.oriented.image, prepared.registration.to_atlas

    def index(point: tuple[float, ...]) -> np.ndarray:
        return np.array(image.TransformPhysicalPointToContinuousIndex(place.TransformPoint(point)))

    shift = index((0.0, 0.0, 0.0))
    axes = np.stack([index(unit) - shift for unit in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))])
    found = np.rint(_atlas_points() @ axes + shift).astype(int)
    inside = ((found >= 0) & (found < image.GetSize())).all(axis=1)
    x, y, z = found[inside].T
    return float(inside.mean()), float(brain[z, y, x].sum() / len(found))


@cache
def _atlas_points() -> np.ndarray:
    """Every second voxel of the atlas' brain along each axis, LPS mm, (points, 3)."""
    mask = atlas.load().mask
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask)[::2, ::2, ::2] > 0)[:, ::-1] * 2
    axes = np.array(mask.GetDirection()).reshape(3, 3) * mask.GetSpacing()
    return indices @ axes.T + mask.GetOrigin()


def anatomy(prepared: Prepared) -> float | None:
    """How well the atlas explains the scan: the correlation ratio of its ranks (Roche et al., MICCAI 1998).

    It depends neither on the contrast nor, because of the ranks, on how bright a lesion is.
    """
    shipped, blank = atlas.load(), prepared.grid.blank()
    t1, brain = (
        sitk.GetArrayFromImage(sitk.Resample(image, blank, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32))
        for image in (shipped.t1, shipped.mask)
    )
    both = ndimage.binary_erosion((brain >= 0.5) & prepared.mask, iterations=ANATOMY_RIM)
    if both.sum() < ANATOMY_BINS * LEAST_VOXELS:
        return None
    ranks, expected = ranked(prepared.volume[both]), t1[both]
    edges = np.quantile(expected, np.linspace(0, 1, ANATOMY_BINS + 1)[1:-1])
    bins = np.digitize(expected, edges)
    counts = np.bincount(bins, minlength=ANATOMY_BINS)
    means = np.bincount(bins, ranks, minlength=ANATOMY_BINS) / np.maximum(counts, 1)
    return float(np.average((means - ranks.mean()) ** 2, weights=counts) / max(float(ranks.var()), 1e-12))


def tissues(prepared: Prepared) -> tuple[dict[int, float | None], float | None]:
    """Median of each tissue, and the robust standard deviation of white matter; None where too little is shown."""
    placed = sitk.Resample(
        tissue_map(), prepared.grid.blank(sitk.sitkUInt8), sitk.Transform(), sitk.sitkNearestNeighbor
    )
    labels = sitk.GetArrayViewFromImage(placed) * prepared.mask
    values = {label: prepared.volume[labels == label] for label in (FLUID, GRAY, WHITE)}
    medians = {label: float(np.median(v)) if v.size >= LEAST_VOXELS else None for label, v in values.items()}
    if medians[WHITE] is None:
        return medians, None
    return medians, float(np.median(np.abs(values[WHITE] - medians[WHITE]))) * MAD_TO_SIGMA


@cache
def tissue_map() -> sitk.Image:
    """FLUID, GRAY and WHITE on the atlas' grid where they are found in nearly every brain, from the atlas' T1; else 0.

    The T1-weighted intensities of the atlas fall into three classes (Otsu); of each only the inside counts.
    """
    shipped = atlas.load()
    t1, brain = sitk.GetArrayViewFromImage(shipped.t1), sitk.GetArrayViewFromImage(shipped.mask) > 0
    depth = ndimage.distance_transform_edt(brain, sampling=shipped.mask.GetSpacing()[::-1])
    classes = np.digitize(t1, threshold_multiotsu(t1[brain], classes=3))
    labels = np.zeros(t1.shape, np.uint8)
    parts = ((FLUID, FLUID_DEPTH_MM, 1), (GRAY, TISSUE_DEPTH_MM, 1), (WHITE, TISSUE_DEPTH_MM, 2))
    for index, (label, least_mm, inward) in enumerate(parts):
        labels[ndimage.binary_erosion((classes == index) & (depth > least_mm), iterations=inward)] = label
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(shipped.mask)
    return image


def in_plane(image: sitk.Image) -> tuple[int, int]:
    """The array axes (z, y, x) along which the voxels of a scan are finest; of equal ones the axial slice's."""
    finest = np.argsort(image.GetSpacing(), kind="stable")[:2]
    first, second = sorted((2 - finest).tolist())
    return first, second


def noise(image: sitk.Image, brain: np.ndarray) -> float:
    """Standard deviation of the noise in a scan, in its own units.

    From second differences along both axes of a slice, whose kernel has the norm 6 (Immerkaer, Comput Vis Image
    Underst 64:300, 1996), averaged over small windows; those with the least count, for elsewhere is anatomy.
    """
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    inside, values = brain[box], sitk.GetArrayViewFromImage(image)[box]
    first, second = in_plane(image)
    for axis in (first, second):
        values, inside = np.diff(values, 2, axis=axis), inside.take(range(1, inside.shape[axis] - 1), axis)
    size = [WINDOW if axis in (first, second) else 1 for axis in range(3)]
    if not inside.any():  # two or three voxels across
        return 0.0
    means = ndimage.uniform_filter(np.abs(values), size)
    kept = ndimage.minimum_filter(inside, size)
    flattest = np.percentile(means[kept if kept.any() else inside], FLATTEST)
    return float(flattest) * np.sqrt(np.pi / 2) / 6


def ghosting(image: sitk.Image, brain: np.ndarray) -> float | None:
    """How much brighter the air is beside the head than in the corners of its slices, as a share of the brain's level.

    Ghosts repeat the head along the axis on which phase was encoded, which is one of the slice's: the one with more
    counts. Looked at is the air above the middle of the brain, where nothing but scalp and skull surrounds it, so that
    strong ghosts are not taken for the head. None when there is no such air, or one that was blanked.
    """
    factors = [max(1, round(LOOK_MM / s)) for s in image.GetSpacing()]
    mask = sitk.GetImageFromArray(brain.astype(np.uint8))
    mask.CopyInformation(image)
    small = sitk.BinShrink(mask, factors) > 0
    distance = sitk.SignedMaurerDistanceMap(small, squaredDistance=False, useImageSpacing=True)
    filled = np.flatnonzero(sitk.GetArrayViewFromImage(small).any(axis=(1, 2)))
    upper = slice((filled[0] + filled[-1]) // 2, filled[-1] + 1)
    values = sitk.GetArrayFromImage(sitk.BinShrink(image, factors))[upper]
    head = sitk.GetArrayViewFromImage(distance)[upper] < HEAD_MM
    first, second = (head.any(axis=axis, keepdims=True) for axis in in_plane(image))
    corners = values[~head & ~first & ~second]
    beside = [air for where in (first & ~second, second & ~first) if (air := values[~head & where]).size >= LEAST_AIR]
    if not beside or corners.size < LEAST_AIR or np.ptp(corners) == 0:
        return None
    level, empty = float(np.median(values[sitk.GetArrayViewFromImage(small)[upper] > 0])), float(np.mean(corners))
    return (max(float(np.mean(air)) for air in beside) - empty) / max(level - empty, 1e-6)
