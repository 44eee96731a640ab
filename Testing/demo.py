"""The main job on the sample scan: detect, load the result into a MRML scene, save it, draw what Slicer would show.

Run it through ``python3 Testing/run.py demo``, which sets up what it needs.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from mrml_application import MrmlApplication, create_mrml_application, load_volume, save_scene
from PIL import Image, ImageDraw, ImageFont
from slice_views import VIEWS, SliceView, why_not_drawn

from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.failures import RESEARCH_USE
from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, readDetectionOutput
from CondDiffusionUADLib.scene.Scene import addDetection
from CondDiffusionUADLib.scene.Views import Views

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SCAN = ROOT / "Resources" / "SampleData" / "synthetic_T2_brain.nii.gz"
VIEW_SIZE = (620, 500)
CAPTION_HEIGHT = 36


def detect(scan: Path, folder: Path) -> int:
    """Run the command line program as a user would; returns its exit status."""
    command = [sys.executable, "-m", "conddiffusion_uad", "detect", str(scan), "--output", str(folder), "--force"]
    print("==> conddiffusion-uad " + " ".join(command[3:]), flush=True)
    return subprocess.call(command)


def centers(output: DetectionOutput) -> list[tuple[float, ...]]:
    """The centers of the findings, most important first; (R, A, S) in mm."""
    with (output.folder / result_files.FINDINGS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [tuple(float(row[f"centre_{axis}_mm"]) for axis in "ras") for row in rows]


def center_of_interest(output: DetectionOutput, scan: Any) -> tuple[float, ...]:
    """The first finding, or the middle of the scan when nothing was found; (R, A, S) in mm."""
    if found := centers(output):
        return found[0]
    bounds = [0.0] * 6
    scan.GetRASBounds(bounds)
    return tuple((bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3))


def draw(views: list[SliceView], caption: str, path: Path) -> None:
    """Write the pictures of the views side by side, with a caption below."""
    pictures = np.hstack([view.picture() for view in views])
    height, width = pictures.shape[:2]
    canvas = Image.new("RGB", (width, height + CAPTION_HEIGHT))
    canvas.paste(Image.fromarray(pictures))
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(canvas).text((12, height + 6), caption, fill=(220, 220, 220), font=font)
    canvas.save(path)


def show(mrml: MrmlApplication, scan: Path, output: DetectionOutput, scene_file: Path, picture: Path) -> str:
    """Load the scan and the results into the scene, save the scene, draw its views; returns why nothing was drawn."""
    problem = why_not_drawn()
    views = [] if problem else [SliceView(mrml, name, VIEW_SIZE) for name in VIEWS]
    try:
        volume = load_volume(mrml, scan, scan.name.split(".")[0])
        nodes = addDetection(mrml.scene, mrml.logics, volume, output)
        Views(mrml.scene).show(nodes)
        for view in views:
            view.look_at(center_of_interest(output, volume))
        save_scene(mrml, scene_file)
        if views:
            draw(views, caption(scan, output), picture)
    finally:
        for view in views:
            view.close()
    return problem


def caption(scan: Path, output: DetectionOutput) -> str:
    """What the picture shows, in one line."""
    subject = "Synthetic brain, not a patient" if scan == SAMPLE_SCAN else scan.name
    place = "finding 1" if centers(output) else "the middle, nothing was found"
    views = ", ".join(VIEWS.values())
    scores = f"Scores from {output.threshold:g}, model {output.bundle}"
    return f"{subject}. {views} through {place}. {scores}. {RESEARCH_USE}."


def compare_with_truth(output: DetectionOutput, truth_file: Path) -> str:
    """How the findings meet the lesion that was put into a synthetic scan."""
    truth_image = sitk.ReadImage(str(truth_file))
    truth = sitk.GetArrayFromImage(truth_image) > 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(output.folder / result_files.SEGMENTATION)))
    volume = truth.sum() * np.prod(truth_image.GetSpacing()) / 1000
    lesion = f"Known truth of this synthetic scan: one lesion of {volume:.1f} ml"
    overlaps = np.bincount(labels[truth], minlength=2)[1:]
    if not overlaps.any():
        return f"{lesion}; no finding meets it."
    number = int(overlaps.argmax()) + 1
    finding = labels == number
    dice = 2 * overlaps.max() / (finding.sum() + truth.sum())
    together = 2 * overlaps.sum() / ((labels > 0).sum() + truth.sum())
    covered = 100 * overlaps.max() / truth.sum()
    return (
        f"{lesion}. Finding {number} covers {covered:.0f} % of it (Dice {dice:.2f}); "
        f"all findings together have Dice {together:.2f}."
    )


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo", metavar="DIR")
    parser.add_argument("--scan", type=Path, default=SAMPLE_SCAN, help="another scan than the sample")
    options = parser.parse_args()
    scan, folder = options.scan.resolve(), options.output.resolve()
    scene_file, picture = folder / "scene.mrb", folder / "slices.png"
    if status := detect(scan, folder / "detection"):
        return status
    output = readDetectionOutput(folder / "detection")
    print("==> Building the scene", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        problem = show(create_mrml_application(Path(temporary)), scan, output, scene_file, picture)
    truth_file = scan.with_name(scan.name.replace(".nii.gz", "_truth.nii.gz"))
    if truth_file != scan and truth_file.is_file():
        print(compare_with_truth(output, truth_file))
    print(f"\nResults:  {output.folder}\nScene:    {scene_file} (opens in 3D Slicer)")
    print(problem or f"Picture:  {picture}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
