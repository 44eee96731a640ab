"""Which contrast a scan looks like, from the levels of fluid, gray and white matter where the atlas expects them."""

from __future__ import annotations

from dataclasses import dataclass

from conddiffusion_uad.detection.input_check.quality import Quality

# Differences of levels, as shares of the brain's intensity range. Over the development scans, fluid lies 0.48 above
# the brighter tissue in T2 and 0.03 to 0.5 below gray matter in T1 and FLAIR; white matter lies 0.17 to 0.44 above gray
# in T1, and from 0.12 below to 0.04 above it in FLAIR.
DARK_FLUID = ("T1", "FLAIR")
FLUID_BELOW_GRAY = 0.03  # T1 and FLAIR: at least
FLUID_ABOVE_TISSUE = (0.15, 0.3)  # T2: likely, sure
WHITE_ABOVE_GRAY = (0.09, 0.15)  # T1: likely, sure
WHITE_BELOW_GRAY = (-0.06, 0.0)  # FLAIR: likely, sure


@dataclass(frozen=True)
class ContrastEstimate:
    """What a scan looks like.

    Attributes:
        contrast: "T1", "T2" or "FLAIR"; None when it looks like none of them, or is not shown enough.
        sure: Whether it can hardly be another.
        fluid_like_tissue: Whether fluid is about as bright as gray matter, as in none of these contrasts.
    """

    contrast: str | None
    sure: bool = False
    fluid_like_tissue: bool = False


def estimate_contrast(quality: Quality) -> ContrastEstimate:
    """Recognize the contrast of a scan: bright fluid is T2; with dark fluid, white above gray matter is T1, else FLAIR.

    Args:
        quality: Its figures.
    """
    fluid, gray, white = quality.fluid, quality.gray, quality.white
    if fluid is None or gray is None or white is None:
        return ContrastEstimate(None)
    bright_fluid = _judged("T2", fluid - max(gray, white), FLUID_ABOVE_TISSUE)
    if bright_fluid.contrast:
        return bright_fluid
    if gray - fluid < FLUID_BELOW_GRAY:
        return ContrastEstimate(None, fluid_like_tissue=True)
    contrast = _judged("T1", white - gray, WHITE_ABOVE_GRAY)
    return contrast if contrast.contrast else _judged("FLAIR", gray - white, WHITE_BELOW_GRAY)


def _judged(contrast: str, difference: float, limits: tuple[float, float]) -> ContrastEstimate:
    likely, sure = limits
    return ContrastEstimate(contrast, difference >= sure) if difference >= likely else ContrastEstimate(None)
