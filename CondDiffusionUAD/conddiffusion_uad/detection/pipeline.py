"""The line the data walks, from a scan to findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import SimpleITK as sitk
import torch

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.detection import sensitivity
from conddiffusion_uad.detection.findings import Finding, find
from conddiffusion_uad.detection.input_check import gate
from conddiffusion_uad.method import run
from conddiffusion_uad.method.run import BATCH
from conddiffusion_uad.method.uncertainty import LEAST_SAMPLES
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Progress, Quiet
from conddiffusion_uad.protocol.failures import BadInput, BundleFailure


@dataclass(frozen=True)
class Detection:
    """What was found in a scan. All images are on the scan's own grid.

    Attributes:
        heatmap: Anomaly score, float32, 0 outside the brain.
        reconstruction: The scan as it would look healthy, float32, in the scan's intensity units.
        brain_mask: uint8, 0 or 1.
        segmentation: uint16, 0 or the number of a finding.
        findings: In the order of their numbers.
        threshold: The score from which on a voxel belongs to a finding.
        batch: Slices that were reconstructed at once.
        prepared: How the scan was prepared.
        assessment: What the input gate found.
        measures: Figures of the whole scan that the bundle's method gives, by their names.
        uncertainty: How far the reconstructions leave the score open, in its unit, float32, 0 outside the brain; None
            when nobody asked.
    """

    heatmap: sitk.Image
    reconstruction: sitk.Image
    brain_mask: sitk.Image
    segmentation: sitk.Image
    findings: list[Finding]
    threshold: float
    batch: int
    prepared: Prepared
    assessment: gate.Assessment
    measures: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    uncertainty: sitk.Image | None = None


def prepare_now(scan: sitk.Image, options: Mapping[str, Any], progress: Progress) -> Prepared:
    """`preparation.prepare` with these options."""
    return prepare(scan, **options, progress=progress)


Preparing = Callable[[sitk.Image, Mapping[str, Any], Progress], Prepared]


def detect(
    scan: sitk.Image,
    bundle: Bundle,
    contrast: str,
    *,
    device: torch.device | str = "cpu",
    timesteps: Sequence[int] | None = None,
    healthy_flagged: float | None = None,
    expected_findings: float | None = None,
    bounded: bool = False,
    min_volume_ml: float = 0.05,
    skull: str = "auto",
    seed: int = 0,
    batch: int = BATCH,
    uncertainty: bool = False,
    accept_any_scan: bool = False,
    preparing: Preparing = prepare_now,
    progress: Progress | None = None,
) -> Detection:
    """Find what does not look healthy in a brain scan.

    Args:
        scan: 3-D, float32, as `volume.read` gives it.
        bundle: Trained model; its network is on `device`.
        contrast: One that the bundle is calibrated for.
        device: Processor of the network and of the skull stripping.
        timesteps: How much noise the reconstruction is made with, t in 1..1000; None for the bundle's own.
        healthy_flagged: Fraction of healthy tissue that the threshold may flag; None to go by findings.
        expected_findings: False findings that may be expected in a healthy brain; None, with no `healthy_flagged`
            either, for what is usual.
        bounded: Whether their bound decides, which holds however few healthy brains were counted; their number has to
            be given.
        min_volume_ml: Smallest volume of a finding in ml.
        skull: "auto", "on" or "off".
        seed: Seed of the noise.
        batch: Slices reconstructed at once; halved, with a warning, when the memory does not suffice.
        uncertainty: Whether to tell how far the reconstructions leave the score open; see `method.uncertainty`.
        accept_any_scan: Whether to go on with a scan that the input gate would refuse.
        preparing: Prepares the scan.
        progress: Told about stages and warnings; may end the run.

    Raises:
        Failure: One of the kind that fits, see `protocol.failures`.
    """
    progress = progress or Quiet()
    require_contrast(bundle, contrast)
    limit = sensitivity.threshold(bundle, contrast, healthy_flagged, expected_findings, bounded=bounded)

    if uncertainty:
        require_samples(bundle, contrast, timesteps)
    if timesteps is not None and not sensitivity.at_own_levels(bundle, timesteps):
        _warn_of_other_timesteps(timesteps, bundle, progress)
    if expected_findings is not None and not sensitivity.holds(bundle, contrast, min_volume_ml, timesteps):
        _warn_of_no_promise(expected_findings, progress)

    # orient, strip the skull, register to the atlas, correct the bias field, normalize, slice
    options = {"grid": bundle.config.grid, "atlas": atlas.load(), "skull": skull, "device": device}
    prepared = preparing(scan, options, progress)

    # is it what the bundle was made for
    progress.stage("check")
    assessment = gate.check(prepared, bundle, contrast, progress, accept=accept_any_scan)
    prepared = prepared.around_brain()

    # encode, noise, denoise, average over the timesteps; residual, smoothed; calibrated on healthy scans
    scored = run.score(
        bundle,
        prepared,
        contrast,
        timesteps=timesteps,
        seed=seed,
        batch=batch,
        uncertainty=uncertainty,
        progress=progress,
    )

    # back to the patient's grid
    progress.stage("restore")
    assert isinstance(scored.brain, Prepared)
    heatmap = scored.brain.score_to_native(scored.score)
    progress.advance(0.5)
    reconstruction = prepared.intensity_to_native(scored.restored.mean)
    doubt = None if scored.uncertainty is None else scored.brain.score_to_native(scored.uncertainty)

    # threshold, findings
    progress.stage("findings")
    segmentation, findings = find(heatmap, limit, min_volume_ml)
    images = (heatmap, reconstruction, prepared.native_mask, segmentation)
    return Detection(*images, findings, limit, scored.restored.batch, prepared, assessment, scored.measures, doubt)


def require_samples(bundle: Bundle, contrast: str, timesteps: Sequence[int] | None) -> None:
    """Raise BadInput("too_few_samples") unless a bundle's map can do without each of its reconstructions of a scan."""
    method = bundle.method.at(timesteps)
    least = max(LEAST_SAMPLES, 1 + getattr(method.anomaly_map[contrast], "least_samples", 1))
    if method.restore.samples < least:
        levels = "" if timesteps is None else " with these --levels"
        raise BadInput(
            "too_few_samples",
            f"The bundle {bundle.name} makes {method.restore.samples} reconstructions of a scan{levels}; to tell how "
            f"sure its score is takes {least}.",
            "Leave out --uncertainty, or take a bundle with more noise levels or samples.",
        )


def _warn_of_other_timesteps(timesteps: Sequence[int], bundle: Bundle, progress: Progress) -> None:
    """The calibration holds for the timesteps that it was made with."""
    asked, own = (", ".join(map(str, numbers)) for numbers in (timesteps, bundle.config.timesteps))
    progress.warning(
        "other_levels",
        f"The noise levels are {asked}, but the bundle is calibrated for {own}: the scores are less exact.",
        "Leave out --levels for scores that can be compared.",
    )


def _warn_of_no_promise(expected_findings: float, progress: Progress) -> None:
    """Findings of healthy scans were counted with the bundle's own maps, and large enough ones only."""
    progress.warning(
        "not_as_counted",
        f"Findings in healthy scans were not counted in this way: more than {expected_findings:g} may be false.",
        "Leave out --levels, --no-location-prior and --min-volume-ml for as many as were asked for.",
    )


def require_contrast(bundle: Bundle, contrast: str) -> None:
    """Raise BadInput("contrast_not_in_bundle") or BundleFailure("bundle_not_calibrated") unless a bundle knows it."""
    run.require_contrast(bundle, contrast)
    if contrast not in bundle.calibration:
        raise BundleFailure(
            "bundle_not_calibrated",
            f"The bundle {bundle.name} is not calibrated for {contrast} scans.",
            "Calibrate it on healthy scans with: conddiffusion-uad train calibrate.",
        )
