"""How unusual the learned map, the residual and the plain intensity are in healthy brains, added up.

Each is wrong in its own way, so that what several of them find unusual stands out, and what one alone sees is not lost
as it would be in a product. Adding ``-log p`` is Fisher's way to combine tests (1932), with the weights of Good (1955).
What an unusual rim encloses in a slice, such as a cyst or the dead core of a tumor, is at least as unusual as the rim,
what its neighborhood's intensities tell to be unusual is so, too, and what is large is more so, with its gaps. In the
end something is taken off where healthy brains are often marked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk
from torch import nn

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.closing import closed
from conddiffusion_uad.method.anomaly_map.extent import enlarged
from conddiffusion_uad.method.anomaly_map.guided import guided
from conddiffusion_uad.method.anomaly_map.learned import Learned
from conddiffusion_uad.method.anomaly_map.location_prior import LocationPrior
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.brain import bounding_box, resampled
from conddiffusion_uad.method.calibration import Calibration
from conddiffusion_uad.method.intensity import ranked
from conddiffusion_uad.method.parts import KIND, read
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol.failures import BundleFailure

MOST_GUIDED_MM = 50.0
MAPS = ("learned", "residual")
"""The maps whose values in healthy brains have to be known."""


@dataclass(frozen=True)
class Combined:
    """``-log10 p`` of the learned map, and of residual and intensity by their weights, on the grid of the learned one.

    p is the share of healthy tissue where a map is as large; of the intensity, the share of this brain.

    Attributes:
        residual: Fields of a :class:`Residual`. Its sign is that of the intensity, too.
        learned: Fields of a :class:`Learned`.
        healthy: A :class:`Calibration` for each of :data:`MAPS`; empty until they are measured.
        residual_weight: Of the residual; the learned map has 1.
        intensity_weight: Of the intensity.
        filled: Whether what is enclosed in a slice is raised to what encloses it.
        guided_mm: From the middle of a neighborhood in which the map is fitted to the intensities to its end; where
            the fit is larger, it counts. 0 for no fit.
        extent: How much what is large is raised, as the power of its volume; 0 for not at all.
        closing: Radius of the disk that closes the gaps in what is large, as a share of its radius; 0 for none.
        location_prior: What is taken off where healthy brains are often marked, as :meth:`LocationPrior.to_text`
            writes it; empty for nothing.
    """

    residual: Mapping[str, Any]
    learned: Mapping[str, Any] = field(default_factory=dict)
    healthy: Mapping[str, Any] = field(default_factory=dict)
    residual_weight: float = 0.5
    intensity_weight: float = 0.5
    filled: bool = True
    guided_mm: float = 0.0
    extent: float = 0.0
    closing: float = 0.0
    location_prior: str = ""

    def __post_init__(self) -> None:
        if not (self.residual_weight >= 0 and self.intensity_weight >= 0):
            raise ValueError("no weight of a combined map is negative")
        if not 0 <= self.guided_mm <= MOST_GUIDED_MM:
            raise ValueError(f"a combined map is fitted within 0 to {MOST_GUIDED_MM:g} mm")
        if not 0 <= self.extent <= 1:
            raise ValueError("the power of a volume in a combined map is from 0 to 1")
        if not 0 <= self.closing <= 1:
            raise ValueError("gaps in a combined map are closed within 0 to 1 radii")
        if self.healthy and set(self.healthy) != set(MAPS):
            raise ValueError(f"a combined map knows healthy values of {' and '.join(MAPS)}, or of none")
        _ = self._learned, self._residual, self._calibrations, self._prior  # which refuse what they do not know

    @cached_property
    def _learned(self) -> Learned:
        return read({"learned": Learned}, {KIND: "learned", **self.learned}, "learned")

    @cached_property
    def _residual(self) -> Residual:
        return read({"residual": Residual}, {KIND: "residual", **self.residual}, "residual")

    @cached_property
    def _calibrations(self) -> dict[str, Calibration]:
        try:
            return {name: Calibration.from_json(values) for name, values in self.healthy.items()}
        except (KeyError, TypeError) as error:
            raise ValueError(f"the healthy values of a combined map are incomplete: {error}") from error

    @cached_property
    def _prior(self) -> LocationPrior | None:
        return LocationPrior.from_text(self.location_prior) if self.location_prior else None

    @property
    def weights(self) -> str:
        """Name of the learned map's network and of its file."""
        return self._learned.weights

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of the grid that the map is made on, mm along x, y, z."""
        return self._learned.spacing

    def build(self) -> nn.Module:
        """The learned map's network with new weights."""
        return self._learned.build()

    def maps(self, restored: Restored, model: ConditionedDiffusion) -> dict[str, np.ndarray]:
        """Each of :data:`MAPS`, float32 (z, y, x), on the learned map's grid. Raises as the learned map does."""
        learned = self._learned(restored, model)
        origin = restored.origin or restored
        assert restored.grid is not None and origin.grid is not None
        residual = resampled(self._residual(origin, model), origin.mask, origin.grid, restored.grid)
        return {"learned": learned, "residual": np.maximum(residual, 0)}

    @staticmethod
    def measured(healthy: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]]) -> dict[str, Any]:
        """What ``healthy`` is to be, from :meth:`maps` and mask of each healthy scan.

        Raises:
            ValueError: They have too few voxels.
        """
        return {name: Calibration.measure([[maps[name][mask]] for maps, mask in healthy]).to_json() for name in MAPS}

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map, float32 (z, y, x), 0 outside the brain.

        Raises:
            ValueError: It is not known where the voxels lie.
            BundleFailure: ``bundle_not_calibrated`` when the maps' values in healthy brains are not known.
        """
        if not self.healthy:
            raise BundleFailure(
                "bundle_not_calibrated",
                "The bundle's map adds up maps, and their values in healthy brains are not measured yet.",
                "Make the bundle as its recipe says.",
            )
        return self.added(self.maps(restored, model), restored)

    def added(self, maps: Mapping[str, np.ndarray], restored: Restored) -> np.ndarray:
        """The map of :meth:`maps` that are there already."""
        scores = {name: self._calibrations[name].score(maps[name], restored.mask) for name in MAPS}
        unusual = scores["learned"] + np.float32(self.residual_weight) * scores["residual"]
        unusual += np.float32(self.intensity_weight) * self._intensity(restored)
        return self.lowered(self._raised(unusual, restored), restored)

    def lowered(self, found: np.ndarray, restored: Restored) -> np.ndarray:
        """A map that the location prior is not taken off yet, with it taken off."""
        if self._prior is None:
            return found
        assert restored.grid is not None
        return np.maximum(found - self._prior.at(restored.grid), 0)

    def _raised(self, unusual: np.ndarray, restored: Restored) -> np.ndarray:
        """The sum, raised to what the intensities and the slices tell of it; only the brain's box is looked at."""
        assert restored.grid is not None
        box = bounding_box(restored.mask)
        found, scan, mask = (values[box] for values in (unusual, restored.volume, restored.mask))
        raised = np.zeros_like(unusual)
        if mask.size:
            found = self._fitted(found, scan, mask, restored.grid)
            if self.filled:
                found = np.where(mask, filled(found), 0)
            found = enlarged(found, math.prod(restored.grid.spacing) / 1000, self.extent)
            raised[box] = closed(found, mask, restored.grid.spacing, self.closing)
        return raised

    def _fitted(self, found: np.ndarray, scan: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
        if not self.guided_mm:
            return found
        reach = [round(self.guided_mm / spacing) for spacing in reversed(grid.spacing)]
        return np.maximum(found, guided(found, scan, mask, reach))

    def _intensity(self, restored: Restored) -> np.ndarray:
        """``-log10`` of the share of the brain that is as bright, or as dark, or as far from the median."""
        mask = restored.mask
        volume = restored.volume[mask]
        found = np.zeros(mask.shape, np.float32)
        if volume.size:
            values = {"hyperintense": volume, "hypointense": -volume}.get(self._residual.sign)
            values = np.abs(volume - np.median(volume)) if values is None else values
            found[mask] = -np.log10(1 - (ranked(values) - 0.5) / volume.size)
        return found


def filled(found: np.ndarray) -> np.ndarray:
    """What is enclosed in its slice by larger values, raised to the smallest that has to be passed on the way out.

    That is morphological reconstruction by erosion from the border (Vincent 1993), where diagonal steps lead out, too.

    Args:
        found: float32 (z, y, x).
    """
    slices = (sitk.GrayscaleFillhole(sitk.GetImageFromArray(each), True) for each in found)
    return np.stack([sitk.GetArrayFromImage(each) for each in slices])
