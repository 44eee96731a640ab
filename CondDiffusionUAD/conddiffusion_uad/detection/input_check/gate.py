"""Is this scan what the bundle was made for? Pass, warn or refuse, before the model runs.

Every limit was set on healthy and lesioned scans so that they pass; docs/QUALITY.md says on which, and what is caught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.healthy_features import slice_features
from conddiffusion_uad.detection.input_check.contrast_estimate import DARK_FLUID, ContrastEstimate, estimate_contrast
from conddiffusion_uad.detection.input_check.quality import Quality, measure
from conddiffusion_uad.preprocessing.preparation import Prepared
from conddiffusion_uad.preprocessing.registration import MIN_DICE
from conddiffusion_uad.protocol.events import Progress
from conddiffusion_uad.protocol.failures import BadInput

PASS, WARN, REFUSE = "pass", "warn", "refuse"
REFUSED = "quality_refused"
ANYWAY = "It is examined nevertheless with --accept-any-scan."
NO_ANATOMY = 0.01  # below, nothing is where it is in a brain
LITTLE_ANATOMY = 0.05  # enough to be suspected when the outline does not fit, either
SLAB_MM = 100.0  # extent; no adult's brain is smaller along any axis
_SHAPE = ("filled", "overlap")
BRAIN_ML = (700.0, 2300.0)  # outside, no adult's brain, if the header's spacing is right
_LOOK_AT_MASK = "Look at the brain mask, and whether the right series was chosen."
_CHOOSE_HEAD = "Choose a scan of a head; if it is one, check its orientation and voxel spacing."
_OTHER_SEQUENCE = "Say the right contrast; another sequence or a contrast agent also looks different."
_EXPECT_FALSE = "Expect false findings."
_DARK = "Gray matter is unusually dark for a {contrast}-weighted scan ({value:.0%} of the brain's range)."
_BRIGHT = "Gray matter is unusually bright for a {contrast}-weighted scan ({value:.0%} of the brain's range)."
_EXPECT_MISSED = "Expect missed findings. Choose the series as the scanner made it, without changed contrast."


@dataclass(frozen=True)
class Limit:
    """What a figure may be.

    Attributes:
        figure: Of :class:`Quality`, or "distance".
        typical: Of good scans.
        warn: The value from which on (away from the typical one) there is a warning.
        refuse: The value from which on a scan is refused; None when this figure alone is no reason to.
        message: One sentence; {value} is the figure.
        hint: What to do.
        contrast: The limit holds for scans of this contrast; None when for all.
    """

    figure: str
    typical: float
    warn: float
    refuse: float | None
    message: str
    hint: str
    contrast: str | None = None

    def deviation(self, value: float) -> float:
        """How much of the way from a typical scan to the limit a value has gone: 0 or less, to 1 at the limit."""
        return (value - self.typical) / (self.warn - self.typical)

    def refuses(self, value: float) -> bool:
        """Whether a value is beyond what is accepted at all."""
        return self.refuse is not None and self.deviation(value) >= self.deviation(self.refuse)


_COVERAGE = Limit(
    "coverage", 1.0, 0.9, 0.7, "The scan shows only {value:.0%} of the brain.", "Choose a scan of all of it."
)
LIMITS = (
    _COVERAGE,
    Limit("filled", 0.96, 0.85, 0.65, "The brain mask fills {value:.0%} of where a brain should be.", _LOOK_AT_MASK),
    Limit("overlap", 0.96, 0.7, 0.7, "The brain's outline does not fit the atlas ({value:.2f}).", _LOOK_AT_MASK),
    Limit("noise", 0.01, 0.045, None, "The scan is noisy ({value:.0%} of the brain's range).", _EXPECT_FALSE),
    Limit("ghosting", 0.01, 0.05, None, "Ghosts reach {value:.0%} of the brain's level.", _EXPECT_FALSE),
    Limit("shading", 1.3, 2.4, None, "Some places are {value:.1f} times as bright as others.", _EXPECT_FALSE),
    Limit("spread", 0.06, 0.15, None, "White matter is uneven, as when the head moved, or in disease.", _EXPECT_FALSE),
    Limit("gray", 0.55, 0.38, None, _DARK, _EXPECT_FALSE, "T1"),
    Limit("gray", 0.55, 0.78, None, _BRIGHT, _EXPECT_MISSED, "T1"),
    Limit("gray", 0.65, 0.8, None, _BRIGHT, _EXPECT_MISSED, "FLAIR"),
    Limit(
        "distance",
        1.0,
        6.0,
        None,
        "To the model the scan looks {value:.0f} times as unusual as a healthy one.",
        "Check the contrast, and whether it is a scan of an adult's head without contrast agent.",
    ),
)


@dataclass(frozen=True)
class Concern:
    """Why a scan may not be what the bundle was made for.

    Attributes:
        code: Stable name, "quality_...".
        message: One sentence.
        hint: What to do.
        refuses: Whether the scan is refused for it.
    """

    code: str
    message: str
    hint: str
    refuses: bool = False


@dataclass(frozen=True)
class Assessment:
    """What the gate found.

    Attributes:
        quality: Figures of the scan.
        estimate: Which contrast it looks like.
        distances: From healthy scans of each contrast in the encoder's eyes, as multiples of the largest that is usual;
            empty for a bundle that does not know healthy features.
        concerns: The gravest first.
        deviation: How near the scan comes to a limit, or how far it is beyond: 1 at the nearest limit.
    """

    quality: Quality
    estimate: ContrastEstimate
    distances: Mapping[str, float]
    concerns: tuple[Concern, ...]
    deviation: float

    @property
    def verdict(self) -> str:
        """PASS, WARN or REFUSE."""
        if any(concern.refuses for concern in self.concerns):
            return REFUSE
        return WARN if self.concerns else PASS

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the report."""
        return {
            "verdict": self.verdict,
            "reasons": [concern.code for concern in self.concerns],
            "contrast_seen": self.estimate.contrast,
            "deviation": round(self.deviation, 3),
            "distances": {contrast: round(value, 3) for contrast, value in self.distances.items()},
            "figures": {name: _rounded(value) for name, value in asdict(self.quality).items()},
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def check(prepared: Prepared, bundle: Bundle, contrast: str, progress: Progress, *, accept: bool = False) -> Assessment:
    """Assess a prepared scan; concerns become warnings, and grave ones end the run.

    Args:
        prepared: The scan.
        bundle: Trained model; its network is on the device that shall compute.
        contrast: The scan's, as it was said.
        progress: Told the warnings.
        accept: Whether to go on whatever the scan is; then grave concerns are warnings, too.

    Raises:
        BadInput: ``quality_refused``.
    """
    assessment = assess(prepared, bundle, contrast)
    if assessment.verdict == REFUSE and not accept:
        grave = [concern for concern in assessment.concerns if concern.refuses]
        message = " ".join(concern.message for concern in grave)
        raise BadInput(REFUSED, message, f"{grave[0].hint} {ANYWAY}")
    for concern in assessment.concerns:
        progress.warning(concern.code, concern.message, concern.hint)
    return assessment


def assess(prepared: Prepared, bundle: Bundle, contrast: str) -> Assessment:
    """What the gate finds in a prepared scan that is said to have a contrast."""
    extents = np.multiply(prepared.native_mask.GetSize(), prepared.native_mask.GetSpacing())
    usual_size = prepared.registration.usual_size
    return judge(measure(prepared), distances(prepared, bundle), contrast, usual_size, slab=min(extents) < SLAB_MM)


def judge(
    quality: Quality, distances: Mapping[str, float], contrast: str, usual_size: bool, slab: bool = False
) -> Assessment:
    """Compare figures with what they may be.

    Args:
        quality: Of the scan.
        distances: See :class:`Assessment`.
        contrast: The scan's, as it was said.
        usual_size: Whether the header gives the brain a usual size; if not, that was told already.
        slab: Whether the scan cannot show a whole brain: then how much it shows is told, but not that this has no
            brain's shape.
    """
    seen = estimate_contrast(quality)
    figures = {**asdict(quality), "distance": distances.get(contrast)}
    limits = [limit for limit in LIMITS if limit.contrast in (None, contrast) and figures[limit.figure] is not None]
    part = slab and _COVERAGE.refuses(quality.coverage)
    limits = [limit for limit in limits if not part or limit.figure not in _SHAPE]
    known = [(limit, figures[limit.figure]) for limit in limits]
    concerns = [
        *(() if part else _not_a_brain(quality, usual_size)),
        *_other_contrast(seen, contrast, distances),
        *(_beyond(limit, value) for limit, value in known if limit.deviation(value) >= 1),
        *(_odd_volume(quality) if usual_size and not part else ()),
    ]
    deviation = max([limit.deviation(value) for limit, value in known] + [1.0] * bool(concerns))
    gravest_first = sorted(concerns, key=lambda concern: not concern.refuses)
    return Assessment(quality, seen, distances, tuple(gravest_first), deviation)


def distances(prepared: Prepared, bundle: Bundle) -> dict[str, float]:
    """How far a scan is from healthy ones of each contrast, as multiples of the largest usual distance."""
    if not bundle.gate:
        return {}
    features = slice_features(prepared.volume, prepared.mask, prepared.grid.spacing, bundle.model)
    return {contrast: healthy.relative(features) for contrast, healthy in bundle.gate.items()} if len(features) else {}


def _not_a_brain(quality: Quality, usual_size: bool) -> Sequence[Concern]:
    fits = quality.overlap >= MIN_DICE
    if not fits and not usual_size:
        message = "Neither the outline nor the size of what the scan shows is a brain's."
    elif quality.anatomy is not None and quality.anatomy < (NO_ANATOMY if fits else LITTLE_ANATOMY):
        message = "What the scan shows is not arranged like a brain."
    else:
        return ()
    return (Concern("quality_anatomy", message, _CHOOSE_HEAD, refuses=True),)


def _other_contrast(seen: ContrastEstimate, said: str, distances: Mapping[str, float]) -> Sequence[Concern]:
    """Refused only when tissue levels leave no doubt and the model, if it can tell, agrees."""
    if seen.contrast is None and seen.fluid_like_tissue and said in DARK_FLUID:
        message = f"The ventricles are as bright as gray matter, which they are not in a {said}-weighted scan."
        return (Concern("quality_contrast", message, _OTHER_SEQUENCE),)
    if seen.contrast in (None, said):
        return ()
    agrees = distances.get(seen.contrast, 0.0) < distances.get(said, 1.0)
    message = f"The scan was said to be {said}-weighted but looks like {seen.contrast}."
    return (Concern("quality_contrast", message, _OTHER_SEQUENCE, refuses=seen.sure and agrees),)


def _beyond(limit: Limit, value: float) -> Concern:
    message = limit.message.format(value=value, contrast=limit.contrast)
    return Concern(f"quality_{limit.figure}", message, limit.hint, limit.refuses(value))


def _odd_volume(quality: Quality) -> Sequence[Concern]:
    if BRAIN_ML[0] <= quality.brain_ml <= BRAIN_ML[1]:
        return ()
    message = f"The brain measures {quality.brain_ml:.0f} ml, which is not an adult's."
    return (Concern("quality_brain_volume", message, "Check the voxel spacing; bundles are made for adults."),)
