"""The demo, without the detection: scene, picture and comparison with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import demo
import numpy as np
import pytest
import SimpleITK as sitk
from mrml_application import MrmlApplication, load_scene
from PIL import Image

from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput
from CondDiffusionUADLib.scene.Nodes import findDetections
from CondDiffusionUADLib.scene.ViewsState import TOP_LAYER


@pytest.mark.usefixtures("_can_draw")
def test_scene_and_picture_are_written(
    mrml: MrmlApplication, case: Any, output: DetectionOutput, tmp_path: Path
) -> None:
    scene_file, picture = tmp_path / "scene.mrb", tmp_path / "slices.png"
    assert demo.show(mrml, case.scan, output, scene_file, picture) == ""
    load_scene(mrml, scene_file)
    (nodes,) = findDetections(mrml.scene)
    assert nodes.input.GetName() == "scan_T2"
    composites = mrml.scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    assert composites.GetNumberOfItems() == 3
    assert composites.GetItemAsObject(0).GetNthLayerVolumeID(TOP_LAYER) == nodes.heatmap.GetID()
    with Image.open(picture) as image:
        pixels = np.asarray(image).astype(int)
    width = demo.VIEW_SIZE[0]
    for view in range(3):
        assert (np.ptp(pixels[: demo.VIEW_SIZE[1], view * width : (view + 1) * width], axis=2) > 40).sum() > 100
    assert pixels[demo.VIEW_SIZE[1] :].max() > 200


def test_caption_names_the_synthetic_scan_and_research_use(output: DetectionOutput, case: Any) -> None:
    assert "Synthetic brain, not a patient" in demo.caption(demo.SAMPLE_SCAN, output)
    assert "scan_T2.nii.gz" in demo.caption(case.scan, output)
    assert "not a medical device" in demo.caption(case.scan, output)


def write_truth(case: Any, truth: np.ndarray, folder: Path) -> Path:
    image = sitk.GetImageFromArray(truth.astype(np.uint8))
    image.CopyInformation(sitk.ReadImage(str(case.scan)))
    sitk.WriteImage(image, str(folder / "truth.nii.gz"))
    return folder / "truth.nii.gz"


def test_truth_that_is_found_exactly(case: Any, output: DetectionOutput, tmp_path: Path) -> None:
    text = demo.compare_with_truth(output, write_truth(case, case.labels == 1, tmp_path))
    assert "synthetic" in text
    assert "Finding 1 covers 100 % of it (Dice 1.00)" in text
    assert "Dice 1.00)" in text and "together have Dice 0.9" in text


def test_truth_that_is_missed(case: Any, output: DetectionOutput, tmp_path: Path) -> None:
    truth = np.zeros_like(case.labels)
    truth[0, 0, :5] = 1
    assert "no finding meets it" in demo.compare_with_truth(output, write_truth(case, truth, tmp_path))
