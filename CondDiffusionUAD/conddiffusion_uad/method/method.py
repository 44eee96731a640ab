"""A method: which part of each kind, as a bundle's configuration says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conddiffusion_uad.method.adapt import ADAPTATIONS, Adaptation
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS, AnomalyMap
from conddiffusion_uad.method.condition import CONDITIONS, Condition
from conddiffusion_uad.method.context import CONTEXTS, Context
from conddiffusion_uad.method.measures import MEASURES, ScanMeasure
from conddiffusion_uad.method.noise import NOISES, Noise
from conddiffusion_uad.method.parts import KIND, NETWORK, Learned, Particular, read, written
from conddiffusion_uad.method.restore import RESTORERS, Restorer
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.denoiser import Denoiser
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS

MOST_PARTS = 16  # of a list


@dataclass(frozen=True)
class Method:
    """The parts of a method.

    Attributes:
        condition: What the denoiser is told about the clean slice.
        noise: What slices are corrupted with.
        restore: From slices to healthy ones.
        anomaly_map: How the map is made, by contrast; the keys are the contrasts that the method is made for.
        context: What the denoiser sees beside the noisy slice.
        measures: Figures of a whole scan for the report.
        adapt: How the model is fitted to the scan at hand; None for not at all.
    """

    condition: Condition
    noise: Noise
    restore: Restorer
    anomaly_map: Mapping[str, AnomalyMap]
    context: tuple[Context, ...] = ()
    measures: tuple[ScanMeasure, ...] = ()
    adapt: Adaptation | None = None

    def __post_init__(self) -> None:
        if not self.anomaly_map or not set(self.anomaly_map) <= set(CONTRASTS):
            raise ValueError(f"anomaly_map: its contrasts are not among {', '.join(CONTRASTS)}")
        for part in self.parts:
            if isinstance(part, Particular):
                part.require(self)

    @property
    def context_channels(self) -> int:
        """Channels that the denoiser sees beside the noisy slice."""
        return sum(part.channels for part in self.context)

    @property
    def parts(self) -> tuple[object, ...]:
        """All parts that are called when a brain is scored."""
        adapt = () if self.adapt is None else (self.adapt,)
        return (self.noise, self.restore, *self.anomaly_map.values(), *self.context, *self.measures, *adapt)

    @property
    def kinds(self) -> list[str]:
        """What configurations call the parts that reconstruct and judge: condition, noise, restorer and maps."""
        told = self.to_json()
        of_maps = dict.fromkeys(part[KIND] for part in told["anomaly_map"].values())
        return [*(told[name][KIND] for name in ("condition", "noise", "restore")), *of_maps]

    @property
    def plain(self) -> bool:
        """Whether a part needs the networks in their plain form; it says so by an attribute ``plain``."""
        return any(getattr(part, "plain", False) for part in self.parts)

    def learned(self) -> dict[str, Learned]:
        """The parts with networks of their own, by the names of these networks. Raises ValueError for a bad name."""
        found: dict[str, Learned] = {}
        for part in self.parts:
            if isinstance(part, Learned):
                if not NETWORK.fullmatch(part.weights) or part.weights == "model":
                    raise ValueError(f"weights cannot be called {part.weights!r}")
                found.setdefault(part.weights, part)
        return found

    def build(self, denoiser: Mapping[str, Any]) -> ConditionedDiffusion:
        """The networks that the method needs, with new weights.

        Args:
            denoiser: Size of the denoiser: keyword arguments of :class:`Denoiser`.
        """
        encoder = self.condition.build()
        built = Denoiser(self.condition.features, context=self.context_channels, **denoiser)
        model = ConditionedDiffusion(encoder, built, self.noise)
        model.networks.update({name: part.build() for name, part in self.learned().items()})
        return model

    def at(self, timesteps: Sequence[int] | None) -> Method:
        """The method with other timesteps, or as it is with None. Raises BadInput("bad_option") for impossible ones."""
        if timesteps is None or tuple(timesteps) == self.restore.timesteps:
            return self
        try:
            changed: Restorer = replace(self.restore, timesteps=tuple(timesteps))  # type: ignore[type-var]
            return replace(self, restore=changed)
        except ValueError as error:
            asked = ", ".join(map(str, timesteps))
            raise BadInput("bad_option", f"--levels cannot be {asked}: {error}.", "Leave out --levels.") from error

    def to_json(self) -> dict[str, Any]:
        """The parts as plain JSON values."""
        return {
            "context": [written(CONTEXTS, part) for part in self.context],
            "condition": written(CONDITIONS, self.condition),
            "noise": written(NOISES, self.noise),
            "restore": written(RESTORERS, self.restore),
            "anomaly_map": {name: written(ANOMALY_MAPS, part) for name, part in self.anomaly_map.items()},
            "measures": [written(MEASURES, part) for part in self.measures],
            "adapt": None if self.adapt is None else written(ADAPTATIONS, self.adapt),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Method:
        """The method from plain JSON values. Raises KeyError or ValueError when something is missing or wrong."""
        adapt = values.get("adapt")
        maps = values["anomaly_map"]
        if not isinstance(maps, Mapping):
            raise ValueError("anomaly_map has one entry for each contrast")
        method = cls(
            condition=read(CONDITIONS, values["condition"], "condition"),
            noise=read(NOISES, values["noise"], "noise"),
            restore=read(RESTORERS, values["restore"], "restore"),
            anomaly_map={name: read(ANOMALY_MAPS, part, f"anomaly_map.{name}") for name, part in maps.items()},
            context=tuple(read(CONTEXTS, part, "context") for part in _listed(values, "context")),
            measures=tuple(read(MEASURES, part, "measures") for part in _listed(values, "measures")),
            adapt=None if adapt is None else read(ADAPTATIONS, adapt, "adapt"),
        )
        method.learned()
        return method


KEYS = ("context", "condition", "noise", "restore", "anomaly_map", "measures", "adapt")
"""The keys of a configuration that describe the method."""


def _listed(values: Mapping[str, Any], name: str) -> Iterator[Any]:
    parts = values.get(name, [])
    if not isinstance(parts, list) or len(parts) > MOST_PARTS:
        raise ValueError(f"{name} is a list of at most {MOST_PARTS} parts")
    yield from parts
