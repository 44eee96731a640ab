"""All steps from a scan to the model's volume, in order, and everything that leads back to the scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.geometry import is_thin
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import background, bias, normalization, orientation, registration, resampling
from conddiffusion_uad.preprocessing import skull as stripping
from conddiffusion_uad.preprocessing.atlas import Atlas
from conddiffusion_uad.protocol.events import Progress

MARGIN_MM = 6.0  # around the brain, within which the scan is corrected and normalized
STAGES = ("orient", "strip", "register", "bias", "normalize", "resample")


@dataclass(frozen=True)
class Way:
    """What each step left behind to undo it. From `corrected` on the images hold only the part around the brain.

    After `Prepared.around_brain` those before do, too, but for `source`.
    """

    source: sitk.Image
    oriented: orientation.Oriented
    leveled: background.Leveled
    corrected: bias.Corrected
    normalized: normalization.Normalized
    resampled: resampling.Resampled


@dataclass(frozen=True)
class Prepared:
    """A brain as the model sees it, and the way back to the patient.

    Attributes:
        volume: float32 (z, y, x) on `grid`, 0..1 inside the mask, 0 outside.
        mask: bool (z, y, x), the brain on `grid`.
        grid: The model's grid, in the atlas' space.
        native_mask: uint8 brain mask on the scan's own grid.
        reference: The scan's own grid.
        skull_method: How the brain was found: `skull.DEEPBET` or `skull.ALREADY_STRIPPED`.
        registration: Where the atlas lies in the (turned) scan, how well it fits, and whether that can be trusted.
        way: What undoes the steps.
    """

    volume: np.ndarray
    mask: np.ndarray
    grid: Grid
    native_mask: sitk.Image
    reference: Grid
    skull_method: str
    registration: registration.Registered
    way: Way

    def score_to_native(self, array: np.ndarray) -> sitk.Image:
        """Bring scores (z, y, x) on `grid` to the scan's own grid: float32, 0 outside the brain."""
        return self._with(self._to_scan(array), np.zeros(self.reference.size[::-1], np.float32))

    def intensity_to_native(self, array: np.ndarray) -> sitk.Image:
        """Bring intensities (z, y, x) on `grid` to the scan's own grid and units, float32.

        Inside the brain normalization, bias correction and leveling are undone; outside of it the scan's own values
        stand.
        """
        corrected = self.way.normalized.undo(self._to_scan(array))
        units = self.way.leveled.undo(self.way.corrected.undo(corrected))
        return self._with(units, sitk.GetArrayFromImage(self.way.source))

    @property
    def field_in_brain(self) -> np.ndarray:
        """The bias field in the brain's voxels, flat."""
        field = self.way.corrected.field
        brain = part_of(orientation.orient(self.native_mask).image, Grid.of(field))
        return sitk.GetArrayViewFromImage(field)[sitk.GetArrayViewFromImage(brain) > 0]

    def at(self, spacing: tuple[float, float, float]) -> Prepared:
        """The same brain on a grid with other voxels (x, y, z in mm), with the detail that the scan has."""
        grid = resampling.with_spacing(self.grid, spacing)
        brain = part_of(orientation.orient(self.native_mask).image, Grid.of(self.way.normalized.image))
        resampled = resampling.to_grid(self.way.normalized.image, brain, grid, self.registration.to_atlas)
        way = replace(self.way, resampled=resampled)
        return replace(self, volume=resampled.volume, mask=resampled.mask, grid=resampled.grid, way=way)

    def around_brain(self) -> Prepared:
        """The same with no more of the turned and of the leveled scan than lies around the brain.

        Nothing that leads back to the scan looks at the rest, which takes as much memory as the scan, twice.
        """
        part = Grid.of(self.way.normalized.image)
        oriented = replace(self.way.oriented, image=part_of(self.way.oriented.image, part))
        leveled = replace(self.way.leveled, image=part_of(self.way.leveled.image, part))
        return replace(self, way=replace(self.way, oriented=oriented, leveled=leveled))

    def _to_scan(self, array: np.ndarray) -> sitk.Image:
        """Values (z, y, x) on `grid` on the turned scan's grid, around the brain."""
        return self.way.resampled.back_inside(array, Grid.of(self.way.normalized.image))

    def _with(self, values: sitk.Image, others: np.ndarray) -> sitk.Image:
        """Values of the turned scan around the brain, within the brain, among others on the scan's own grid."""
        oriented = self.way.oriented
        first = oriented.grid.index(values.GetOrigin())
        x, y, z = (slice(start, start + n) for start, n in zip(first, values.GetSize(), strict=True))
        brain = oriented.turned(sitk.GetArrayViewFromImage(self.native_mask))[z, y, x] > 0
        oriented.turned(others)[z, y, x][brain] = sitk.GetArrayViewFromImage(values)[brain]
        return self.reference.with_array(others)


def prepare(
    image: sitk.Image, *, grid: Grid, atlas: Atlas, skull: str = "auto", device: Any = "cpu", progress: Progress
) -> Prepared:
    """Bring a scan to the model's grid and intensities.

    A thin volume, which covers less than `geometry.MIN_EXTENT_MM` along one axis, shows too little of a head to be
    stripped, registered or corrected. It has to be in the atlas' space already, and 0 outside the brain.

    Args:
        image: float32 scan as `volume.read` returns it.
        grid: The model's grid, in the atlas' space.
        atlas: The atlas.
        skull: "auto", "on" (the skull is there: strip it) or "off" (it is not).
        device: torch device, or its name, that strips the skull.
        progress: Told each of `STAGES`, and of a poor registration; may raise Cancelled.

    Raises:
        BadInput: no_brain.
        Cancelled: The run was cancelled.
    """
    progress.stage("orient")
    oriented = orientation.orient(image)
    thin = is_thin(image)
    leveled = background.Leveled(oriented.image) if thin else background.level(oriented.image)
    known = _thin(oriented.image) if thin else None
    brain, registered, corrected = known or _found(leveled, atlas, skull, device, progress)
    mask = part_of(brain.mask, Grid.of(corrected.image))
    progress.stage("normalize")
    normalized = normalization.normalize(corrected.image, mask)
    progress.stage("resample")
    resampled = resampling.to_grid(normalized.image, mask, grid, registered.to_atlas)
    return Prepared(
        volume=resampled.volume,
        mask=resampled.mask,
        grid=resampled.grid,
        native_mask=oriented.undo(brain.mask),
        reference=oriented.source,
        skull_method=brain.method,
        registration=registered,
        way=Way(image, oriented, leveled, corrected, normalized, resampled),
    )


def _found(
    leveled: background.Leveled, atlas: Atlas, skull: str, device: Any, progress: Progress
) -> tuple[stripping.BrainMask, registration.Registered, bias.Corrected]:
    """The brain of a head, where it lies in the atlas, and its picture without shading."""
    progress.stage("strip")
    brain, image = stripping.brain_mask(leveled, skull, device, progress), leveled.image
    progress.stage("register")
    registered = registration.register(image, brain.mask, atlas, progress)
    _warn(registered, progress)
    progress.stage("bias")
    return brain, registered, bias.correct(image, brain.mask, progress, _around(brain.mask))


def _around(mask: sitk.Image) -> Grid:
    """The part of a mask's grid that holds the brain and what smoothing may look at around it."""
    margin = np.ceil(MARGIN_MM / np.array(mask.GetSpacing())).astype(int) + 1
    first, (x, y, z) = resampling.around(mask, margin)
    return replace(Grid.of(mask), size=(x, y, z), origin=mask.TransformIndexToPhysicalPoint(first))


def part_of(image: sitk.Image, grid: Grid) -> sitk.Image:
    """The voxels of an image that lie on a part of its grid."""
    return sitk.RegionOfInterest(image, grid.size, image.TransformPhysicalPointToIndex(grid.origin))


def _thin(image: sitk.Image) -> tuple[stripping.BrainMask, registration.Registered, bias.Corrected]:
    """The same of a thin volume, in which all of this is as it should be."""
    brain = stripping.BrainMask(sitk.Cast(image > 0, sitk.sitkUInt8), stripping.ALREADY_STRIPPED)
    in_place = registration.Registered(sitk.AffineTransform(3), quality=1.0, ok=True)
    return brain, in_place, bias.Corrected(image, image * 0 + 1)


def _warn(registered: registration.Registered, progress: Progress) -> None:
    """Tell the user when the registration, or the size that the header gives the brain, cannot be right."""
    if not registered.ok:
        progress.warning(
            "registration_poor",
            f"The brain fits the atlas poorly (overlap {registered.quality:.2f}); the heatmap may be unreliable.",
            "Look at the brain mask and at the scan's orientation; --skull on or --skull off may help.",
        )
    if not registered.usual_size:
        listed = ", ".join(f"{scale:.2f}" for scale in registered.scales)
        progress.warning(
            "size_unusual",
            f"The brain is {listed} times the size of the atlas along three axes: the voxel spacing may be wrong.",
            "Check the distance between slices; volumes in ml depend on it.",
        )
