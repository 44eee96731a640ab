"""Running a detection job from its paths to its files: the same for the command line and the worker."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conddiffusion_uad.app import output, several
from conddiffusion_uad.app.prefetch import Ahead, ReadScan
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import Emit, EventProgress
from conddiffusion_uad.protocol.explanation import explain, is_card_failure, is_out_of_memory
from conddiffusion_uad.protocol.failures import EXIT_DONE, Cancelled, OutputFailure
from conddiffusion_uad.protocol.job import DetectionJob

if TYPE_CHECKING:
    import SimpleITK as sitk

    from conddiffusion_uad.app.repetition import Repetition
    from conddiffusion_uad.bundle.bundle import Bundle
    from conddiffusion_uad.detection.pipeline import Detection

# SimpleITK, torch and MONAI take seconds to import: each function imports what it needs when it is reached, so that a
# wrong option, a folder that cannot be written to or an unreadable scan is refused at once.


PICTURE_LEVEL = 3  # of compression: half the time of the usual one, for a tenth more bytes


class Models:
    """Loaded bundles, kept for the next job."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str, str], Bundle] = {}

    def get(self, name: str, device: str, precision: str = "auto") -> Bundle:
        """The bundle of that name or path, on a device and in a precision. One changed on disk is loaded again.

        Raises:
            BundleFailure: It is missing, damaged or not acceptable.
            DeviceFailure: There is no such device.
        """
        from conddiffusion_uad.bundle import bundle
        from conddiffusion_uad.model.device import choose

        chosen = choose(device)
        folder = bundle.locate(name)
        key = (str(folder.resolve()), str(chosen), precision)
        if key not in self._loaded or self._loaded[key].sha256 != bundle.digest(folder):
            self._loaded[key] = bundle.load(name).to(chosen, precision)
        return self._loaded[key]


def run(
    job: DetectionJob,
    emit: Emit,
    cancelled: threading.Event | None = None,
    models: Models | None = None,
    repetition: Repetition | None = None,
) -> int:
    """Run a job, input by input; one that fails does not keep the others from running.

    Args:
        emit: Receives the events of one input after the other; those of each end with "done" or "error".
        cancelled: Set from any thread to end the run.
        repetition: The run that the job repeats, if it does.

    Returns:
        The exit code: that of the first failure, or 0.
    """
    cancelled = cancelled or threading.Event()
    models = models or Models()
    code = EXIT_DONE
    ahead = Ahead(job.inputs, lambda path: _read(path, job))
    outcomes: list[tuple[Path, str, str]] = []
    for path, folder in zip(job.inputs, folders(job), strict=True):
        tell = several.named(emit, path) if len(job.inputs) > 1 else emit
        try:
            Examination(job, Recorder(EventProgress(tell, cancelled)), models, ahead, repetition).run(path, folder)
            outcomes.append((folder, path, "done"))
            tell({"event": "done", "report": str(folder.absolute() / result_files.REPORT)})
        except BaseException as error:
            failure = Cancelled() if cancelled.is_set() else explain(error)
            ahead.drop(path)
            tell(failure.event())
            outcomes.append((folder, path, failure.code))
            code = code or failure.exit_code
            if isinstance(failure, Cancelled):
                break
    ahead.drop()
    table = _write_table(job, outcomes, emit)
    return code or table


def _write_table(job: DetectionJob, outcomes: list[tuple[Path, str, str]], emit: Emit) -> int:
    """Say which folder is of which of several scans."""
    try:
        if len(job.inputs) > 1:
            several.write_table(Path(job.output), outcomes)
        return EXIT_DONE
    except OutputFailure as failure:
        emit(failure.event())
        return failure.exit_code


def folders(job: DetectionJob) -> list[Path]:
    """The output folder of each input."""
    top = Path(job.output)
    return [top] if len(job.inputs) == 1 else [top / name for name in several.folder_names(job.inputs)]


@dataclass(frozen=True)
class Examination:
    """The detection on one scan of a job.

    Attributes:
        job: What was asked for.
        recorder: Told how it goes.
        models: Where loaded bundles are kept.
        ahead: Reads and prepares the scans of the job.
        repetition: The run that it repeats, if it does.
    """

    job: DetectionJob
    recorder: Recorder
    models: Models
    ahead: Ahead
    repetition: Repetition | None = None

    def run(self, path: str, folder: Path) -> None:
        """Examine the scan at a path and write the results: all of them or, when it fails, nothing.

        Raises:
            Failure: Of the kind that fits.
        """
        output.require_apart(folder, path)
        with output.staged(folder, force=self.job.force) as private:
            self.recorder.stage("read")
            scan, contrast, told = self.ahead.scan(path, self.recorder)
            for warning in told:
                self.recorder.warning(*warning)
                self.recorder.warnings[-1]["message"] = several.nameless(self.recorder.warnings[-1]["message"], path)
            if self.repetition is not None:
                self.repetition.require_scan(scan)
            self.recorder.stage("load")
            bundle, detection = self._detect(scan, contrast, path, folder)
            self.recorder.stage("report")
            with as_output_failure(folder):
                _write(private, scan, detection, self.recorder)
                summary = self._summary(contrast, scan, bundle, detection, private)
                (private / result_files.REPORT).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
            self.recorder.advance(1.0)

    def _detect(self, scan: sitk.Image, contrast: str, path: str, folder: Path) -> tuple[Bundle, Detection]:
        """Load the bundle and detect; on the CPU when an automatically chosen card fails or has too little memory."""
        from conddiffusion_uad.model.torch_check import require_torch

        require_torch()
        name = self.job.bundle
        if self.repetition is not None:
            self.repetition.prepare()
            name = self.repetition.locate_bundle()
        bundle = self._bundle(name, self.job.device, contrast)
        try:
            return bundle, self._detect_with(bundle, scan, contrast, path, folder)
        except (MemoryError, RuntimeError) as error:
            on_card = next(bundle.model.parameters()).device.type != "cpu"
            if self.job.device != "auto" or not on_card or not (is_out_of_memory(error) or is_card_failure(error)):
                raise
            reason = explain(error).message
        self.recorder.warning(
            "device_fallback", f"{reason} The run goes on with the CPU.", "It takes longer; the result is as good."
        )
        bundle = self._bundle(name, "cpu", contrast)
        return bundle, self._detect_with(bundle, scan, contrast, path, folder)

    def _bundle(self, name: str, device: str, contrast: str) -> Bundle:
        from conddiffusion_uad.bundle.location_priors import without_prior

        bundle = self.models.get(name, device, self.job.precision)
        return bundle if self.job.location_prior else without_prior(bundle, contrast)

    def _detect_with(self, bundle: Bundle, scan: sitk.Image, contrast: str, path: str, folder: Path) -> Detection:
        from conddiffusion_uad.app import resource_estimate as needs
        from conddiffusion_uad.detection import pipeline

        pipeline.require_contrast(bundle, contrast)
        asked = {"levels": self.job.levels, "batch": self.job.batch, "uncertainty": self.job.uncertainty}
        expected = needs.estimate(scan, bundle, **asked)
        expected.require(folder, self.recorder)
        if expected.seconds is not None:
            self.recorder.expect(expected.seconds)

        return pipeline.detect(
            scan,
            bundle,
            contrast,
            device=next(bundle.model.parameters()).device,
            timesteps=self.job.levels,
            healthy_flagged=self.job.healthy_flagged,
            expected_findings=self.job.expected_findings,
            bounded=self.job.bounded,
            min_volume_ml=self.job.min_volume_ml,
            skull=self.job.skull,
            seed=self.job.seed,
            batch=self.job.batch,
            uncertainty=self.job.uncertainty,
            accept_any_scan=self.job.accept_any_scan,
            preparing=lambda *given: self.ahead.prepare(path, *given),
            progress=self.recorder,
        )

    def _summary(
        self, contrast: str, scan: sitk.Image, bundle: Bundle, detection: Detection, folder: Path
    ) -> dict[str, Any]:
        """The report; of a repeated run it says whether the other files are those of the first."""
        from conddiffusion_uad.detection import report

        summary = report.build(self.job, contrast, scan, bundle, detection, self.recorder, folder)
        if self.repetition is not None:
            summary["repetition"] = self.repetition.compare(summary, self.recorder)
        return summary


def _read(path: str, job: DetectionJob) -> ReadScan:
    """The scan at a path, its contrast, and what was told while reading it."""
    from conddiffusion_uad.io import volume
    from conddiffusion_uad.io.contrast import choose
    from conddiffusion_uad.io.reading import Reading

    told: list[tuple[str, str, str]] = []

    def warn(code: str, message: str, hint: str = "") -> None:
        told.append((code, message, hint))

    reading = Reading(series=job.series, echo=job.echo, accept=job.accept_any_scan, warn=warn)
    scan = volume.read(path, reading)
    return scan, choose(job.contrast, path, scan, warn), told


def _write(private: Path, scan: sitk.Image, detection: Detection, recorder: Recorder) -> None:
    """Write everything but the report into the private folder; may be cancelled between the files.

    The images are compressed on threads of their own while the picture is drawn: the largest first.
    """
    from conddiffusion_uad.detection import overview
    from conddiffusion_uad.detection.findings import write_table
    from conddiffusion_uad.io import volume

    images = {
        result_files.RECONSTRUCTION: detection.reconstruction,
        result_files.HEATMAP: detection.heatmap,
        result_files.SEGMENTATION: detection.segmentation,
        result_files.BRAIN_MASK: detection.brain_mask,
    }
    if detection.uncertainty is not None:
        images[result_files.UNCERTAINTY] = detection.uncertainty
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        writing = [pool.submit(volume.write, image, private / name, like=scan) for name, image in images.items()]
        try:
            write_table(detection.findings, private / result_files.FINDINGS)
            overview.draw(scan, detection).save(private / result_files.OVERVIEW, compress_level=PICTURE_LEVEL)
            for done, written in enumerate(writing):
                recorder.advance(done / len(writing))
                written.result()
        finally:
            pool.shutdown(cancel_futures=True)
