"""What an evaluation is asked to do. Everything that changes a figure is here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.detection import sensitivity
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.adversarial import WORST
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS, SEVERITIES
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES
from conddiffusion_uad.evaluation.shifts.implanted import IMPLANTED, ROUNDS
from conddiffusion_uad.method.calibration import threshold
from conddiffusion_uad.model import precision as precisions
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.expected_findings import USUAL
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import USUAL_BUNDLE, USUAL_FLAGGED

NATIVE, PUBLISHED = "native", "paper"
"""Native grid and a threshold that no label has chosen; or the published rules, not to be mixed with those."""

SHIFTS = (*CORRUPTIONS, *GEOMETRIC_CHANGES)


@dataclass(frozen=True)
class Rule:
    """When a voxel belongs to a finding; no label is needed to choose it.

    Attributes:
        healthy_flagged: Fraction of healthy tissue that may be flagged, by all methods alike; None for the bundle as a
            detection runs it, and `USUAL_FLAGGED` for what is compared with it.
        min_volume_ml: Smallest volume of a finding in ml.
    """

    healthy_flagged: float | None = None
    min_volume_ml: float = 0.05

    @property
    def threshold(self) -> float:
        """The smallest score of a finding of what is compared with a bundle."""
        return threshold(USUAL_FLAGGED if self.healthy_flagged is None else self.healthy_flagged)

    def threshold_of(self, bundle: Bundle, contrast: str) -> float:
        """The smallest score of a finding of a bundle."""
        return sensitivity.threshold(bundle, contrast, self.healthy_flagged)


@dataclass(frozen=True)
class Trial:
    """A scan to be evaluated, as it is or changed.

    Attributes:
        case: Whose scan.
        corruption: One of :data:`SHIFTS`, :data:`IMPLANTED`, :data:`WORST`, or :data:`CLEAN`.
        severity: 1 to 5, or the round of implanted lesions; 0 for what has no degrees.
        bundle: Position among the bundles of the settings.
    """

    case: Case
    corruption: str = CLEAN
    severity: int = 0
    bundle: int = 0

    @property
    def id(self) -> str:
        """Names the files about it."""
        change = "" if self.corruption == CLEAN else f"+{self.corruption.replace(' ', '_')}"
        degree = f"-{self.severity}" if self.severity else ""
        fold = f"+bundle{self.bundle + 1}" if self.bundle else ""
        return f"{self.case.id}{change}{degree}{fold}"


@dataclass(frozen=True)
class Settings:
    """How scans are evaluated.

    Attributes:
        bundles: Names or folders; several only by the published protocol, where fold k takes the k-th one, beginning
            anew after the last: one for each fold is what was published, a single one shows only how much the choice of
            patients matters.
        protocol: :data:`NATIVE` or :data:`PUBLISHED`.
        baselines: Names of what is compared with the model.
        rule: When a voxel belongs to a finding.
        maps: Folder with the maps of other software, which then take the model's place; None runs the model.
        maps_threshold: The value of such a map from which on a voxel is flagged; None ranks it in its own brain.
        device: That computes.
        precision: Number format of the network: "auto", "fp32" or "bf16".
        skull: "auto", "on" or "off".
        seed: Of the noise, of corruptions and of folds; 0 or more.
        shifts: Which changes of a scan are tried besides the scan as it is, out of :data:`SHIFTS`.
        severities: Of the corruptions among them, out of `SEVERITIES`.
        dose_response: Whether lesions are implanted into healthy scans.
        adversarial: Whether the changes are looked for that move residuals most.
    """

    bundles: tuple[str, ...] = (USUAL_BUNDLE,)
    protocol: str = NATIVE
    baselines: tuple[str, ...] = ()
    rule: Rule = field(default_factory=Rule)
    maps: Path | None = None
    maps_threshold: float | None = None
    device: str = "auto"
    precision: str = "auto"
    skull: str = "auto"
    seed: int = 0
    shifts: tuple[str, ...] = ()
    severities: tuple[int, ...] = SEVERITIES
    dose_response: bool = False
    adversarial: bool = False

    @property
    def changes(self) -> bool:
        """Whether scans are also tried in changed forms."""
        return bool(self.shifts) or self.dose_response or self.adversarial

    def __post_init__(self) -> None:
        """Raises BadInput("bad_option")."""
        for chosen, known in ((self.shifts, SHIFTS), (self.severities, SEVERITIES)):
            for wrong in (each for each in chosen if each not in known):
                accepted = ", ".join(map(str, known))
                raise BadInput("bad_option", f"There is no corruption or severity {wrong!r}.", f"Accepted: {accepted}.")
        if self.seed < 0:
            raise BadInput("bad_option", f"--seed cannot be {self.seed}.", "It is 0 or more.")

    def trials(self, cases: Sequence[Case]) -> list[Trial]:
        """All that is to be done for some cases."""
        panel = [(CLEAN, 0), *((name, s) for name in self.shifts if name in CORRUPTIONS for s in self.severities)]
        panel += [(name, 0) for name in self.shifts if name in GEOMETRIC_CHANGES]
        if self.protocol == PUBLISHED:
            return [Trial(case, bundle=number) for number in range(len(self.bundles)) for case in cases]
        panel += [(WORST, 0)] if self.adversarial else []
        doses = [(IMPLANTED, number) for number in range(1, ROUNDS + 1)] if self.dose_response else []
        return [
            Trial(case, *change) for case in cases for change in (*panel, *(() if case.truth is not None else doses))
        ]

    def resolved(self) -> Settings:
        """With the number format that "auto" means on this computer, which decides last digits. Raises Failure."""
        return replace(self, precision=precisions.name_of(precisions.choose(self.precision, choose(self.device))))

    def to_json(self) -> dict[str, Any]:
        """What decides the figures; where the bundles lie and what computes does not.

        Which changes are tried may differ when an evaluation goes on, so they are not among it.

        Raises:
            BundleFailure: A bundle is missing or damaged.
        """
        options = {**vars(self), **asdict(self.rule), "maps": _fingerprint(self.maps), "robustness": self.changes}
        options["usual_findings"] = USUAL
        for name in ("bundles", "protocol", "rule", "device", "shifts", "severities", "dose_response", "adversarial"):
            del options[name]
        return {"protocol": self.protocol, "bundles": [_identity(name) for name in self.bundles], "options": options}


def _identity(bundle: str) -> dict[str, str]:
    """Name and hash of a bundle. Raises BundleFailure when it is missing or damaged."""
    place = bundles.locate(bundle)
    return {"name": place.name, "sha256": bundles.digest(place)}


def _fingerprint(maps: Path | None) -> dict[str, str] | None:
    """A folder of maps, and a hash of the names, sizes and times of its files: other maps are another evaluation."""
    if maps is None:
        return None
    files = [(file, file.stat()) for file in sorted(maps.rglob("*")) if file.is_file()]
    lines = (f"{file.relative_to(maps)} {about.st_size} {about.st_mtime_ns}" for file, about in files)
    return {"folder": str(maps.resolve()), "files": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
