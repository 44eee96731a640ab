"""Run `detect` on one scan that is stored in many ways, and compare each result with that of the scan stored normally.

    python Testing/studies/scan_cases.py CASES OUTPUT [--levels 500] [--only 05_] [--read]

CASES holds one folder a case, each with scans (files, or folders of DICOM files); `00_reference` holds the scan stored
normally, and a case may bring a reference of its own, named `ref_...`. The results stay in OUTPUT; what has one there
is not run again. The table goes to stdout and to OUTPUT/table.md. With --read nothing is detected: what is read is
compared (correlation of the voxels at the same places), which takes seconds instead of minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.contrast import choose
from conddiffusion_uad.io.geometry import FLIP, affine_of
from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

SUFFIXES = (".nii", ".nii.gz", ".img", ".nrrd", ".nhdr", ".mha", ".mhd")
NIBABEL = (".nii", ".nii.gz", ".img")


@dataclass(frozen=True)
class Outcome:
    """What came of one scan: results, or a refusal, and what was told."""

    name: str
    exit_code: int
    seconds: float | None
    findings: int | None
    volume_ml: float | None
    told: tuple[str, ...]
    hint: str = ""


def scans(cases: Path) -> Iterator[Path]:
    """The scans of all cases, in order: image files, and folders that hold DICOM files."""
    for case in sorted(path for path in cases.iterdir() if path.is_dir()):
        for path in sorted(case.iterdir()):
            if path.is_dir() or path.name.lower().endswith(SUFFIXES):
                yield path


def run(scan: Path, folder: Path, options: list[str]) -> Outcome:
    """Detect in one scan, in a process of its own."""
    command = [sys.executable, "-m", "conddiffusion_uad", "detect", str(scan), "--output", str(folder), "--json"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    told = [event for event in events if event["event"] in ("warning", "error")]
    report = folder / "report.json"
    values = json.loads(report.read_text()) if report.exists() else None
    listed = values["findings"]["list"] if values else None
    return Outcome(
        name=f"{scan.parent.name}/{scan.name}",
        exit_code=ended.returncode,
        seconds=next((event["seconds"] for event in events if event["event"] == "estimate"), None),
        findings=None if listed is None else len(listed),
        volume_ml=None if listed is None else round(sum(finding["volume_ml"] for finding in listed), 1),
        told=tuple(f"{event['code']}: {event['message']}" for event in told)
        or ((ended.stderr.strip().splitlines()[-1],) if ended.returncode and ended.stderr.strip() else ()),
        hint=told[-1]["hint"] if told else "",
    )


def reference_of(scan: Path, cases: Path) -> Path | None:
    """The same scan stored normally."""
    own = sorted(scan.parent.glob("ref_*"))
    if own:
        return own[0]
    return cases / "00_reference" / "head_flair.nii.gz" if "contrast_agent" not in scan.parent.name else None


def correlation(result: Path, reference: Path, scan: Path) -> float | None:
    """Correlation of two heatmaps where either is above 0; voxel by voxel when nibabel reads both scans alike.

    A scan that was moved on purpose (by its affine) is compared voxel by voxel, others at the same places (mm).
    """
    maps = (nibabel.load(folder / "heatmap.nii.gz") for folder in (result, reference))
    first, second = (nibabel.as_closest_canonical(image) for image in maps)
    values, wanted = (np.asarray(image.dataobj, np.float32) for image in (first, second))
    if not (scan.name.lower().endswith(NIBABEL) and values.shape == wanted.shape):
        places = np.indices(wanted.shape).reshape(3, -1)
        matrix = np.linalg.inv(first.affine) @ second.affine
        values = map_coordinates(values, matrix[:3, :3] @ places + matrix[:3, 3:], order=1).reshape(wanted.shape)
    either = (values > 0) | (wanted > 0)
    return float(np.corrcoef(values[either], wanted[either])[0, 1]) if either.any() else None


def geometry_kept(scan: Path, folder: Path) -> bool | None:
    """Whether nibabel gives the result the affine that it gives the scan; None for what nibabel does not read."""
    if not scan.name.lower().endswith(NIBABEL):
        return None
    try:
        affine = nibabel.load(scan).affine
    except Exception:  # such as a plain file with the name of a packed one
        return None
    return bool(np.allclose(nibabel.load(folder / "heatmap.nii.gz").affine, affine, atol=1e-3))


def table(outcomes: list[Outcome], cases: Path, output: Path) -> str:
    """All outcomes as a Markdown table."""
    lines = ["| scan | findings | ml | r | affine kept | told |", "|---|---|---|---|---|---|"]
    for outcome in outcomes:
        scan, folder = cases / outcome.name, output / outcome.name
        r, kept = "", ""
        if outcome.findings is not None:
            known = reference_of(scan, cases)
            wanted = output / known.relative_to(cases) if known else None
            value = correlation(folder, wanted, scan) if wanted and (wanted / "heatmap.nii.gz").exists() else None
            r = "" if value is None else f"{value:.3f}"
            kept = {None: "", True: "yes", False: "NO"}[geometry_kept(scan, folder)]
        told = "; ".join(outcome.told).replace("|", "/").replace("\n", " ")
        end = f"exit {outcome.exit_code}: " if outcome.exit_code else ""
        count = "" if outcome.findings is None else outcome.findings
        lines.append(f"| {outcome.name} | {count} | {outcome.volume_ml or ''} | {r} | {kept} | {end}{told} |")
    return "\n".join(lines) + "\n"


def read_table(cases: Path, only: str) -> str:
    """What is read of each scan, compared with the reference, as a Markdown table."""
    lines = ["| scan | r of the voxels | contrast | where nibabel has it | told |", "|---|---|---|---|---|"]
    for scan in scans(cases):
        if only in str(scan.relative_to(cases)):
            lines.append(f"| {scan.relative_to(cases)} | {' | '.join(_as_read(scan, cases))} |")
    return "\n".join(lines) + "\n"


def _as_read(scan: Path, cases: Path) -> tuple[str, str, str, str]:
    told: list[str] = []
    reading = Reading(warn=lambda code, message, hint: told.append(f"{code}: {message}"))
    contrast = "refused"
    r = kept = ""
    try:
        image = volume.read(scan, reading)
        known = reference_of(scan, cases)
        r = "" if known is None else f"{_likeness(image, volume.read(known)):.4f}"
        kept = _where_nibabel_has_it(image, scan)
        contrast = "asked"
        contrast = choose("auto", str(scan), image, reading.warn)
    except BadInput as failure:
        told.append(f"{failure.code}: {failure.message}")
    return r, contrast, kept, "; ".join(told).replace("|", "/")


def _likeness(image: sitk.Image, reference: sitk.Image) -> float:
    """Correlation of the voxels, one by one where the grids have one size, else at the same places."""
    values, wanted = (sitk.GetArrayFromImage(one) for one in (image, reference))
    if values.shape != wanted.shape:
        there = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, float("nan"))
        values = sitk.GetArrayFromImage(there)
    inside = np.isfinite(values)
    return float(np.corrcoef(values[inside], wanted[inside])[0, 1])


def _where_nibabel_has_it(image: sitk.Image, scan: Path) -> str:
    if not scan.name.lower().endswith(NIBABEL):
        return ""
    try:
        affine = nibabel.load(scan).affine
    except Exception:  # such as a plain file with the name of a packed one
        return ""
    return "yes" if np.allclose(FLIP @ affine_of(Grid.of(image)), affine, atol=1e-3) else "NO"


def main() -> None:
    """Run what has not been run yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--levels", default="500")
    parser.add_argument("--only", default="", help="run only scans whose path contains this")
    parser.add_argument("--read", action="store_true", help="compare what is read, and detect nothing")
    arguments = parser.parse_args()
    if arguments.read:
        print(read_table(arguments.cases, arguments.only))
        return
    known = arguments.output / "outcomes.json"
    done = {entry["name"]: Outcome(**entry) for entry in json.loads(known.read_text())} if known.exists() else {}
    for scan in scans(arguments.cases):
        name = f"{scan.parent.name}/{scan.name}"
        if name not in done and arguments.only in name:
            folder = arguments.output / name
            folder.parent.mkdir(parents=True, exist_ok=True)
            done[name] = run(scan, folder, ["--levels", arguments.levels, "--force"])
            known.write_text(json.dumps([asdict(outcome) for outcome in done.values()], indent=1))
    text = table(list(done.values()), arguments.cases, arguments.output)
    (arguments.output / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
