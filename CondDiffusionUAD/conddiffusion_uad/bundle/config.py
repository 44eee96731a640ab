"""How a bundle is run: its grid, the size of its denoiser and the parts of its method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conddiffusion_uad.bundle import format_1
from conddiffusion_uad.bundle.limits import require_moderate
from conddiffusion_uad.io.geometry import MAX_EXTENT_MM
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method import method as methods
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.method.parts import require_known
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

FORMAT = 2  # of the section "conddiffusion_uad"; raised when older programs could misread a bundle
MOST_SLICES = 1024  # of the grid, along each axis
DENOISER = ("base", "multipliers", "blocks", "head_channels", "groups", "patch")
KEYS = ("format", "grid", "denoiser", *methods.KEYS)


@dataclass(frozen=True)
class BundleConfig:
    """How a bundle is run.

    Attributes:
        grid: The grid in atlas space that scans are brought to; its z axis counts the slices.
        denoiser: Size of the network: keyword arguments of :class:`model.denoiser.Denoiser`.
        method: The parts of its method.
    """

    grid: Grid
    denoiser: Mapping[str, Any]
    method: Method

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that the bundle is made for."""
        return tuple(self.method.anomaly_map)

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timesteps that the reconstruction uses."""
        return self.method.restore.timesteps

    @property
    def network(self) -> dict[str, Any]:
        """What decides the shape and meaning of the weights, as JSON values: two networks of one kind agree in it."""
        values = self.to_json()
        return {name: values[name] for name in ("denoiser", "context", "condition", "noise")}

    def build(self) -> ConditionedDiffusion:
        """The networks, with new weights."""
        return self.method.build(self.denoiser)

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values of the newest format."""
        denoiser = {name: list(v) if isinstance(v, tuple) else v for name, v in self.denoiser.items()}
        return {"format": FORMAT, "grid": self.grid.to_json(), "denoiser": denoiser, **self.method.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BundleConfig:
        """The configuration from plain JSON values of any known format.

        Raises:
            KeyError, TypeError or ValueError: Something is missing, unknown or wrong.
        """
        if format_1.is_old(values):
            values = format_1.converted(values)
        require_known(values, list(KEYS), "the configuration")
        grid, denoiser = Grid.from_json(values["grid"]), values["denoiser"]
        far = max(map(abs, grid.origin)) > MAX_EXTENT_MM
        if far or max(grid.size) > MOST_SLICES or max(grid.spacing) > MAX_EXTENT_MM:
            raise ValueError("its grid is impossible")
        require_known(denoiser, list(DENOISER), "denoiser")
        require_moderate(denoiser)
        return cls(grid, denoiser, Method.from_json(values))

    @classmethod
    def from_recipe(cls, values: Mapping[str, Any]) -> BundleConfig:
        """The configuration in a recipe, which holds much else. Raises as :meth:`from_json`."""
        keys = (*KEYS, *format_1.KEYS)
        return cls.from_json({name: value for name, value in values.items() if name in keys})
