"""From a scan and its reconstructions to a map of what does not look healthy.

One map a file; the unit of a map is free, the calibration gives it one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from conddiffusion_uad.method.anomaly_map.combined import Combined
from conddiffusion_uad.method.anomaly_map.feature_space import FeatureSpace
from conddiffusion_uad.method.anomaly_map.learned import Learned
from conddiffusion_uad.method.anomaly_map.mahalanobis import Mahalanobis
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion


class AnomalyMap(Protocol):
    """A way of making the map. One with a network of its own is also ``parts.Learned``.

    A map may have an attribute ``spacing``, mm along x, y and z: it is then given the scan on a grid with such voxels,
    and makes its map there; ``restored.origin`` is on the bundle's grid. One that needs more than one reconstruction
    says how many as ``least_samples``.
    """

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map on the grid of ``restored``: float32 (z, y, x), not negative, 0 outside the mask.

        Args:
            model: What they were made with; ``model.networks`` holds the networks of the method's parts.
        """


ANOMALY_MAPS: Mapping[str, type[AnomalyMap]] = {
    "residual": Residual,
    "learned": Learned,
    "combined": Combined,
    "mahalanobis": Mahalanobis,
    "feature_space": FeatureSpace,
}
