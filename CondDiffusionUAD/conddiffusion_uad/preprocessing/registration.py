"""Affine registration of a brain to the atlas by mutual information.

Mattes et al., IEEE Trans Med Imaging 22:120, 2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.preprocessing.atlas import Atlas
from conddiffusion_uad.preprocessing.resampling import FWHM_IN_SIGMAS, box_of
from conddiffusion_uad.protocol.events import Progress
from conddiffusion_uad.protocol.failures import Cancelled

PITCHES = tuple(math.radians(angle) for angle in (-25.0, 25.0))  # heads nod more than they turn
WORKING_MM = 2.0
RIM_MM = 6.0  # of background around the atlas' brain that takes part, so that outlines meet
BINS = 32
RUNS = 4  # levels of the quick search, for its progress
NOT_OVER = 0.99  # progress of a careful search, which goes on where the quick one ended: the end is told every time
SAMPLED = {4: 1.0, 2: 0.15, 1: 0.06}  # share of the atlas' voxels used at each shrink factor
FIRST_STEP = {4: 2.0, 2: 1.0, 1: 0.5}  # mm, at each shrink factor
LAST_STEP = {4: 0.05, 2: 0.02, 1: 0.02}  # mm; a search that takes smaller ones is over
FEW = 0.5  # of the samples, to tell which nod of the head is nearest
SEED = 1  # of the sampled points; fixed, so that one scan always gives one result
WORK_UNITS = 1  # several add up in the order in which they finish, so that the last digits would change
USUAL = (0.7, 1.35)  # scales between a brain and the atlas, from small children to large adults
CREDIBLE = (0.35, 1.6)  # beyond the usual, the header's slice distance is probably wrong; beyond this, the result is
MAX_SHEAR = 0.2
MAX_ROTATION = math.radians(60.0)
TALL = 1.4  # no brain reaches this multiple of the atlas along an axis; a wrong spacing does
SURE_DICE = 0.94  # a quick search that fits so well needs no other
MIN_DICE = 0.9  # right ones reach 0.93 and more, a scan turned upside down 0.88


@dataclass(frozen=True)
class Registered:
    """Where the atlas lies in a patient.

    Attributes:
        to_atlas: Maps points of the atlas to points of the patient (mm, LPS), which is what `SimpleITK.Resample`
            needs to bring the patient's scan to the atlas' grid.
        quality: Dice coefficient of the brain mask and the atlas' brain mask, within the field of view. 0..1.
        ok: Whether the registration can be trusted.
    """

    to_atlas: sitk.AffineTransform
    quality: float
    ok: bool

    @property
    def usual_size(self) -> bool:
        """Whether the scan's header gives the brain a usual size along every axis."""
        return USUAL[0] <= min(self.scales) and max(self.scales) <= USUAL[1]

    @property
    def scales(self) -> tuple[float, float, float]:
        """Size of the brain against the atlas along three perpendicular axes, largest first."""
        first, second, third = np.linalg.svd(_matrix(self.to_atlas), compute_uv=False).tolist()
        return first, second, third


def register(image: sitk.Image, mask: sitk.Image, atlas: Atlas, progress: Progress) -> Registered:
    """Find the affine transform that brings a brain to the atlas.

    The centers of the two masks start it: first rigidly on a coarse level, then affinely on three. When that is
    implausible or does not fit surely, the search goes on carefully: several nods of the head are tried, the nearest is
    refined on two levels, and freed to an affine transform. Of what was found, the plausible transform that fits best
    is taken, be it rigid or the start.

    Args:
        image: Scan of any MRI contrast, axes near L, P, S.
        mask: Brain mask on the same grid, not empty.
        atlas: The atlas.
        progress: Receives `advance`, which may raise Cancelled.
    """
    (brain, inside), back = _corrected(_working(image, mask), atlas)
    start = _start(inside, atlas)
    search = _Search(brain, atlas, progress)
    upright = search.run(start, (4,), 30, part=FEW)
    affine, _ = search.run(_affine(upright[0]), (4, 2, 1), 100)
    chosen, quality, fits = _best([affine], inside, atlas)
    if not fits or quality < SURE_DICE:
        trials = [upright, *(search.run(_nodding(start, pitch), (4,), 40, part=FEW) for pitch in PITCHES)]
        nearest = min(trials, key=lambda trial: trial[1])[0]
        rigid, _ = search.run(nearest, (4, 2), 60)
        affine, _ = search.run(_affine(rigid), (4, 2, 1), 100)
        chosen, quality, fits = _best([chosen, affine, _affine(rigid), _affine(start)], inside, atlas)
    return Registered(to_atlas=_composed(back, chosen), quality=quality, ok=fits and quality >= MIN_DICE)


def _best(
    candidates: list[sitk.AffineTransform], inside: sitk.Image, atlas: Atlas
) -> tuple[sitk.AffineTransform, float, bool]:
    """The plausible candidate with the largest overlap: itself, the overlap, and whether it is plausible."""
    scored = [(plausible(candidate), overlap(candidate, inside, atlas), candidate) for candidate in candidates]
    fits, quality, chosen = max(scored, key=lambda entry: entry[:2])
    return chosen, quality, fits


def overlap(to_atlas: sitk.Transform, mask: sitk.Image, atlas: Atlas) -> float:
    """Return the Dice coefficient of a brain mask and the atlas' mask brought to its grid (0..1)."""
    warped = sitk.Resample(atlas.mask, mask, to_atlas.GetInverse(), sitk.sitkNearestNeighbor)
    ours, theirs = (sitk.GetArrayViewFromImage(m) > 0 for m in (mask, warped))
    total = int(ours.sum()) + int(theirs.sum())
    return 2.0 * int((ours & theirs).sum()) / total if total else 0.0


def plausible(to_atlas: sitk.AffineTransform) -> bool:
    """Whether a transform could relate two adult heads: scales, shear and rotation within limits, no mirroring."""
    matrix = _matrix(to_atlas)
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) <= 0:
        return False
    left, scales, right = np.linalg.svd(matrix)
    stretch = right.T @ np.diag(scales) @ right  # polar decomposition: matrix = rotation @ stretch
    shear = np.abs(stretch - np.diag(np.diag(stretch))).max() / scales.mean()
    angle = math.acos(max(-1.0, min(1.0, (np.trace(left @ right) - 1.0) / 2.0)))
    within = CREDIBLE[0] <= scales.min() and scales.max() <= CREDIBLE[1]
    return bool(within and shear <= MAX_SHEAR and angle <= MAX_ROTATION)


class _Search:
    """Runs one optimization after another, reports progress and stops when the run is cancelled."""

    def __init__(self, brain: sitk.Image, atlas: Atlas, progress: Progress) -> None:
        self._brain = brain
        self._atlas = atlas
        self._progress = progress
        self._smoothed: dict[int, sitk.Image] = {}
        self._done = 0

    def run(
        self, start: sitk.Transform, factors: tuple[int, ...], iterations: int, part: float = 1.0
    ) -> tuple[sitk.Transform, float]:
        """Return the optimized transform and its metric (lower is better); the start when nothing overlaps.

        Args:
            start: Where to begin.
            factors: By which the atlas is shrunk, at one level after the other.
            iterations: At each level, at most.
            part: Of the samples of `SAMPLED`.
        """
        result, value = type(start)(start), math.inf
        for factor in factors:
            method = _method(factor, iterations, part)
            method.SetInitialTransform(result, inPlace=True)
            try:
                value = self._execute(method, factor)
            except RuntimeError:  # no sample of the atlas lies in the scan
                return start, math.inf
        return result, value

    def _execute(self, method: sitk.ImageRegistrationMethod, factor: int) -> float:
        cancelled: list[Cancelled] = []
        template, region = _template(self._atlas, factor)
        method.SetMetricFixedMask(region)
        method.AddCommand(sitk.sitkIterationEvent, lambda: self._report(method, cancelled))
        self._report(method, cancelled)
        try:
            method.Execute(template, self._at(factor))
            value = float(method.GetMetricValue())
        finally:
            method.RemoveAllCommands()  # they and the method hold each other, out of reach of the garbage collector
        if cancelled:
            raise cancelled[0]
        self._done += 1
        return value

    def _at(self, factor: int) -> sitk.Image:
        """The brain as smooth as the atlas shrunk by a factor."""
        if factor not in self._smoothed:
            self._smoothed[factor] = _smooth(self._brain, factor)
        return self._smoothed[factor]

    def _report(self, method: sitk.ImageRegistrationMethod, cancelled: list[Cancelled]) -> None:
        try:
            self._progress.advance(min(self._done / RUNS, NOT_OVER))
        except Cancelled as cancel:  # an exception must not pass through ITK
            cancelled.append(cancel)
            method.StopRegistration()


@cache
def _template(atlas: Atlas, factor: int) -> tuple[sitk.Image, sitk.Image]:
    """The atlas shrunk by a factor, and the region around its brain that takes part."""
    region = sitk.BinaryDilate(atlas.mask, [round(RIM_MM / s) for s in atlas.mask.GetSpacing()])
    return sitk.Shrink(_smooth(atlas.t1, factor), [factor] * 3), region


def _smooth(image: sitk.Image, factor: int) -> sitk.Image:
    """An image without the detail that shrinking by a factor would fold."""
    return sitk.SmoothingRecursiveGaussian(image, WORKING_MM * factor / FWHM_IN_SIGMAS) if factor > 1 else image


def _method(factor: int, iterations: int, part: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(WORK_UNITS)
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLED[factor] * part, SEED)
    # A filter makes the gradients of all voxels, which takes as long as a search: only where they are not smooth yet.
    method.SetMetricUseFixedImageGradientFilter(False)
    method.SetMetricUseMovingImageGradientFilter(factor < 4)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=FIRST_STEP[factor],
        minStep=LAST_STEP[factor],
        numberOfIterations=iterations,
        relaxationFactor=0.6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _working(image: sitk.Image, mask: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Return the brain at about 2 mm, clipped and scaled to 25..255 on a background of 0, and its mask."""
    factors = [max(1, int(WORKING_MM / s + 0.01)) for s in image.GetSpacing()]
    values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(mask) > 0]
    low, high = (float(v) for v in np.percentile(values, [1.0, 99.0]))
    scaled = sitk.IntensityWindowing(sitk.Cast(image, sitk.sitkFloat32), low, max(high, low + 1e-6), 25.0, 255.0)
    brain = sitk.BinShrink(sitk.Mask(scaled, mask), factors)
    inside = sitk.BinShrink(sitk.Cast(mask, sitk.sitkFloat32), factors) >= 0.5
    return brain, inside


def _start(mask: sitk.Image, atlas: Atlas) -> sitk.Euler3DTransform:
    """Return the translation between the centers of gravity of the two masks."""
    here, there = _center(mask), _center(atlas.mask)
    start = sitk.Euler3DTransform()
    start.SetCenter(there)
    start.SetTranslation([h - t for h, t in zip(here, there, strict=True)])
    return start


def _center(mask: sitk.Image) -> tuple[float, ...]:
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputePerimeterOff()
    shape.Execute(mask)
    return shape.GetCentroid(1)


def _nodding(start: sitk.Euler3DTransform, pitch: float) -> sitk.Euler3DTransform:
    turned = sitk.Euler3DTransform(start)
    turned.SetRotation(pitch, 0.0, 0.0)
    return turned


def _affine(rigid: sitk.Euler3DTransform) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _matrix(affine: sitk.AffineTransform) -> np.ndarray:
    return np.array(affine.GetMatrix()).reshape(3, 3)


def _corrected(images: tuple[sitk.Image, sitk.Image], atlas: Atlas) -> tuple[list[sitk.Image], sitk.AffineTransform]:
    """Shrink the spacing along axes on which a brain is taller than brains are: there the header is wrong.

    Args:
        images: The brain and its mask.
        atlas: The atlas.

    Returns:
        Both images with believable spacings, and the transform from their points to the given images' points.
    """
    mask = images[1]
    factors = [t / h if h > TALL * t else 1.0 for h, t in zip(_extent(mask), _extent(atlas.mask), strict=True)]
    believable = [sitk.Image(image) for image in images]
    for image in believable:
        image.SetSpacing([s * f for s, f in zip(image.GetSpacing(), factors, strict=True)])
    axes = np.array(mask.GetDirection()).reshape(3, 3)
    back = sitk.AffineTransform(3)
    back.SetCenter(mask.GetOrigin())
    back.SetMatrix((axes @ np.diag(1.0 / np.array(factors)) @ axes.T).flatten())
    return believable, back


def _extent(mask: sitk.Image) -> list[float]:
    """Return the size of a mask's bounding box along the image's axes, mm."""
    low, high = box_of(mask) or ((0, 0, 0), mask.GetSize())
    return [(end - begin) * s for begin, end, s in zip(low, high, mask.GetSpacing(), strict=True)]


def _composed(outer: sitk.AffineTransform, inner: sitk.AffineTransform) -> sitk.AffineTransform:
    """Return x -> outer(inner(x)) as one transform."""
    both = sitk.AffineTransform(3)
    both.SetMatrix((_matrix(outer) @ _matrix(inner)).flatten())
    both.SetTranslation(outer.TransformPoint(inner.TransformPoint((0.0, 0.0, 0.0))))
    return both
