"""Running a detection job from its paths to its files: the same for the command line and the worker."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from conddiffusion_uad.detection import output
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.failures import explain
from conddiffusion_uad.protocol import EXIT_DONE, Cancelled, DetectionJob, Emit, EventProgress

if TYPE_CHECKING:
    import SimpleITK as sitk

    from conddiffusion_uad.detection.pipeline import Detection
    from conddiffusion_uad.model.bundle import Bundle

# SimpleITK, torch and MONAI take seconds to import: each function imports what it needs when it is reached, so that a
# wrong option, a folder that cannot be written to or an unreadable scan is refused at once.


class Models:
    """Loaded bundles, kept for the next job."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], Bundle] = {}

    def get(self, name: str, device: str) -> Bundle:
        """The bundle of that name or path, on a device. One that was changed on disk is loaded again.

        Raises:
            BundleFailure: It is missing, damaged or not acceptable.
            DeviceFailure: There is no such device.
        """
        from conddiffusion_uad.model import bundle
        from conddiffusion_uad.model.device import choose

        chosen = choose(device)
        folder = bundle.locate(name)
        key = (str(folder.resolve()), str(chosen))
        if key not in self._loaded or self._loaded[key].sha256 != bundle.digest(folder):
            self._loaded[key] = bundle.load(name).to(chosen)
        return self._loaded[key]


def run(job: DetectionJob, emit: Emit, cancelled: threading.Event | None = None, models: Models | None = None) -> int:
    """Run a job, input by input; one that fails does not keep the others from running.

    Args:
        job: What to do.
        emit: Receives the events of one input after the other; those of each end with "done" or "error".
        cancelled: Set from any thread to end the run.
        models: Where loaded bundles are kept.

    Returns:
        The exit code: that of the first failure, or 0.
    """
    cancelled = cancelled or threading.Event()
    models = models or Models()
    code = EXIT_DONE
    for path, folder in zip(job.inputs, folders(job), strict=True):
        try:
            detect_file(job, path, folder, Recorder(EventProgress(emit, cancelled)), models)
            emit({"event": "done", "report": str(folder.absolute() / output.REPORT)})
        except BaseException as error:
            failure = Cancelled() if cancelled.is_set() else explain(error)
            emit(failure.event())
            code = code or failure.exit_code
            if isinstance(failure, Cancelled):
                break
    return code


def folders(job: DetectionJob) -> list[Path]:
    """The output folder of each input."""
    top = Path(job.output)
    return [top] if len(job.inputs) == 1 else [top / name for name in output.folder_names(job.inputs)]


def detect_file(job: DetectionJob, path: str, folder: Path, recorder: Recorder, models: Models) -> None:
    """Run the detection on one scan and write its results: all of them or, when it fails, nothing.

    Raises:
        Failure: Of the kind that fits.
    """
    with output.staged(folder, force=job.force) as private:
        recorder.stage("read")
        scan, contrast = _read(path, job.contrast)
        recorder.stage("load")
        from conddiffusion_uad.torch_check import require_torch

        require_torch()
        from conddiffusion_uad.detection import pipeline, report

        bundle = models.get(job.bundle, job.device)
        detection = pipeline.detect(
            scan,
            bundle,
            contrast,
            device=next(bundle.model.parameters()).device,
            levels=job.levels,
            healthy_flagged=job.healthy_flagged,
            min_volume_ml=job.min_volume_ml,
            skull=job.skull,
            seed=job.seed,
            accept_any_scan=job.accept_any_scan,
            progress=recorder,
        )
        recorder.stage("report")
        with output.telling(folder):
            _write(private, scan, detection, recorder)
            summary = report.build(job, contrast, scan, bundle, detection, recorder)
            (private / output.REPORT).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        recorder.advance(1.0)


def _read(path: str, contrast: str) -> tuple[sitk.Image, str]:
    """The scan at a path and its contrast."""
    from conddiffusion_uad import volume
    from conddiffusion_uad.detection.contrast import choose

    scan = volume.read(path)
    return scan, choose(contrast, path, scan)


def _write(private: Path, scan: sitk.Image, detection: Detection, recorder: Recorder) -> None:
    """Write everything but the report into the private folder; may be cancelled between the files."""
    from conddiffusion_uad import volume
    from conddiffusion_uad.detection import overview
    from conddiffusion_uad.detection.findings import write_table

    images = {
        output.HEATMAP: detection.heatmap,
        output.RECONSTRUCTION: detection.reconstruction,
        output.BRAIN_MASK: detection.brain_mask,
        output.SEGMENTATION: detection.segmentation,
    }
    for done, (name, image) in enumerate(images.items()):
        recorder.advance(done / (len(images) + 1))
        volume.write(image, private / name)
    recorder.advance(len(images) / (len(images) + 1))
    write_table(detection.findings, private / output.FINDINGS)
    overview.draw(scan, detection).save(private / output.OVERVIEW)
