"""Repeating a run from its report: with the same scan, bundle and parameters, or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conddiffusion_uad.protocol.events import Progress
from conddiffusion_uad.protocol.failures import BadInput, BundleFailure, shown
from conddiffusion_uad.protocol.job import DetectionJob, is_number
from conddiffusion_uad.protocol.result_files import REPORT_FORMAT

if TYPE_CHECKING:
    import SimpleITK as sitk

MOST_THREADS = 1024
_LATER = {
    "series": None,
    "echo": None,
    "expected_findings": None,
    "bounded": False,
    "uncertainty": False,
    "location_prior": True,
}
"""Parameters that the first reports lack, and what they were then."""

ROUNDING = 1e-4
"""Of coordinates (mm) and directions when a scan is brought from one file format to another."""


@dataclass(frozen=True)
class Repetition:
    """A run that is to be repeated.

    Attributes:
        report: The report of the run.
        bundle: Name or path of the bundle to use; None to look for the one of the report among those installed.
    """

    report: Mapping[str, Any]
    bundle: str | None = None

    def job(self, path: str, output: str, *, device: str | None = None, force: bool = False) -> DetectionJob:
        """The job that repeats the run.

        Args:
            device: What computes; None for what computed then.

        Raises:
            BadInput: "report_unusable".
        """
        try:
            told = {**_LATER, **self.report["parameters"]}
            parameters = {name: told[name] for name in DetectionJob.parameters()}
            return DetectionJob.from_json(
                {
                    **parameters,
                    "inputs": [path],
                    "output": output,
                    "bundle": self.bundle or self.report["bundle"]["name"],
                    "device": device or self.report["device"].split(" ")[0],
                    "force": force,
                }
            )
        except (BadInput, AttributeError, KeyError, TypeError) as error:
            raise _unusable() from error

    def require_scan(self, scan: sitk.Image) -> None:
        """Raise BadInput("another_scan") unless voxels and grid are those of the report."""
        from conddiffusion_uad.detection.report import scan_facts

        then, now = self.report["input"], scan_facts(scan)
        if (then["sha256"], then["size"]) != (now["sha256"], now["size"]) or not _same_grid(then, now):
            raise BadInput(
                "another_scan",
                "This is not the scan of the report: its voxels or its grid differ.",
                "Give the scan that was examined then, or leave out --repeat.",
            )

    def locate_bundle(self) -> str:
        """Name or path of the bundle whose hash is the report's. Raises BundleFailure: "another_bundle" and others."""
        from conddiffusion_uad.bundle import bundle

        wanted = self.report["bundle"]
        for candidate in bundle.available() if self.bundle is None else [self.bundle]:
            if bundle.digest(bundle.locate(candidate)) == wanted["sha256"]:
                return candidate
        which = f"The bundle {self.bundle} is not" if self.bundle else "No installed bundle is"
        raise BundleFailure(
            "another_bundle",
            f"{which} the one of the report: {shown(wanted['name'])}, hash {shown(wanted['sha256'][:12])}.",
            "Give the folder of the bundle that was used then with --bundle.",
        )

    def prepare(self) -> None:
        """Let torch compute in as many threads as then: their number decides the last digits."""
        import torch

        torch.set_num_threads(self.report["computer"]["threads"])

    def compare(self, report: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """How the repeated run compares with the first, for its report; results that are not the same are a warning.

        Returns:
            `identical`, whether all result files are equal; `different_files`, their names; and `changed`, what is not
            as it was then among versions of the software, computer, device and threshold.
        """
        then, now = self.report["files"], report["files"]
        different = sorted(name for name in now if now[name] != then.get(name))
        changes = _changes(self.report, report)
        if different:
            reasons = f" ({'; '.join(changes)})" if changes else ""
            progress.warning(
                "repeat_differs",
                f"The results are not bit for bit those of the report{reasons}.",
                "Compare the findings: the last digits depend on versions, processor and device; where nobody asked "
                "for a number of findings, the version decides the threshold.",
            )
        return {"identical": not different, "different_files": different, "changed": changes}


def read(path: str, bundle: str | None = None) -> Repetition:
    """The run that a report tells of.

    Args:
        bundle: See `Repetition`.

    Raises:
        BadInput: "file_not_found", "report_unusable" or "report_too_new".
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput("file_not_found", f"There is no file {path}.", "Check the path and its spelling.")
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if report["format"] > REPORT_FORMAT:
            raise BadInput("report_too_new", "The report was written by a newer version.", "Update CondDiffusionUAD.")
        _require_complete(report)
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _unusable() from error
    return Repetition(report, bundle)


def _require_complete(report: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError unless all that a repetition looks at is there and of its kind."""
    from conddiffusion_uad.io.volume import Grid

    Grid.from_json(report["input"])
    texts = (report["input"]["sha256"], report["bundle"]["sha256"], report["bundle"]["name"], report["device"])
    tables = (report["parameters"], report["files"], report["software"], report["computer"])
    threads, threshold = report["computer"]["threads"], report["parameters"]["threshold"]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(table, dict) for table in tables):
        raise TypeError("a text or a table is of another kind")
    if not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"{threads} threads")
    if not is_number(threshold, 0, math.inf):
        raise ValueError(f"threshold {threshold}")


def _same_grid(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two grids are the same but for the rounding of file formats."""
    return all(
        math.isclose(before, after, rel_tol=ROUNDING, abs_tol=ROUNDING)
        for name in ("spacing", "origin", "direction")
        for before, after in zip(then[name], now[name], strict=True)
    )


def _unusable() -> BadInput:
    return BadInput(
        "report_unusable",
        "The file that --repeat names is not a complete report of a run.",
        "Give a report.json that conddiffusion-uad detect wrote.",
    )


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, as "torch: 2.12.0, now 2.13.0"."""
    pairs = [(f"{name}", then["software"].get(name), value) for name, value in now["software"].items()]
    pairs += [(name, then["computer"].get(name), value) for name, value in now["computer"].items()]
    pairs.append(("device", then["device"], now["device"]))
    pairs.append(("threshold", then["parameters"]["threshold"], now["parameters"]["threshold"]))
    return [f"{name}: {_plain(before)}, now {_plain(after)}" for name, before, after in pairs if before != after]


def _plain(value: object) -> str:
    """A version as it is told, whatever a report says."""
    return value[:60] if isinstance(value, str) else shown(value)
