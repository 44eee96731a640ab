"""Which score a finding starts at: by what the user asks for and what the bundle promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method import calibration
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import USUAL_FLAGGED


def threshold(
    bundle: Bundle,
    contrast: str,
    healthy_flagged: float | None = None,
    expected_findings: float | None = None,
    *,
    bounded: bool = False,
) -> float:
    """The smallest score of a finding.

    Args:
        healthy_flagged: Fraction of healthy tissue that may be flagged; decides when it is given.
        expected_findings: False findings that may be expected in a healthy brain; None for the usual number, or for
            the least that the bundle can promise where it can promise no less.
        bounded: Whether their bound decides instead of the mean of those that were counted; needs a number.

    Raises:
        BadInput: ``bad_option`` when the bundle cannot promise what is asked for, or a bound is asked for of no number.
    """
    if bounded and expected_findings is None:
        raise BadInput("bad_option", "--bounded needs --expected-findings.", "Give a number of findings with it.")
    known = bundle.expected.get(contrast)
    if healthy_flagged is not None or (expected_findings is None and known is None):
        return calibration.threshold(USUAL_FLAGGED if healthy_flagged is None else healthy_flagged)
    if known is None:
        raise BadInput(
            "bad_option",
            f"The bundle {bundle.name} does not know how many findings healthy {contrast} scans have.",
            "Give --healthy-flagged instead of a number of findings.",
        )
    if expected_findings is None:
        return known.usual_threshold()
    try:
        return known.threshold(expected_findings, bounded=bounded)
    except ValueError as error:
        raise BadInput(
            "bad_option",
            f"--expected-findings cannot be {expected_findings:g}: {error}.",
            "Give a larger number, or leave out --bounded." if bounded else "Give a larger number.",
        ) from error


def at_own_levels(bundle: Bundle, timesteps: Sequence[int] | None) -> bool:
    """Whether a scan is scored with the noise levels that the bundle was calibrated with; None stands for them."""
    return timesteps is None or set(timesteps) == set(bundle.config.timesteps)


def holds(bundle: Bundle, contrast: str, min_volume_ml: float, timesteps: Sequence[int] | None = None) -> bool:
    """Whether findings of a scan are made as those that were counted in healthy scans; see `promise`."""
    known = bundle.expected.get(contrast)
    return known is not None and known.covers(min_volume_ml) and _scored_alike(bundle, timesteps)


def _scored_alike(bundle: Bundle, timesteps: Sequence[int] | None) -> bool:
    return bundle.as_calibrated and at_own_levels(bundle, timesteps)


def promise(
    bundle: Bundle,
    contrast: str,
    limit: float,
    asked: float | None,
    min_volume_ml: float,
    largest: float,
    timesteps: Sequence[int] | None = None,
) -> dict[str, Any] | None:
    """What the report says of false findings; None when the bundle promises nothing for the contrast.

    Args:
        asked: Findings in a healthy brain that the user asked for; None when the user did not.
        min_volume_ml: Of a finding. The promise holds for no smaller ones than were counted.
        timesteps: The scan was scored with. The promise holds for the bundle's own, which None stands for.
    """
    known = bundle.expected.get(contrast)
    if known is None:
        return None
    kept = holds(bundle, contrast, min_volume_ml, timesteps)
    return {
        "asked": asked,
        "at_threshold": round(known.at(limit), 4) if kept else None,
        "bound": round(known.at(limit, bounded=True), 4) if kept else None,
        "healthy_as_large": known.usual(largest) if _scored_alike(bundle, timesteps) else None,
        **known.to_json(),
    }
