"""What the user chose in the panel, kept in the scene. The state of a run is not: it must not be saved with a scene."""

from __future__ import annotations

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

from CondDiffusionUADLib.run.Bundles import FULL
from CondDiffusionUADLib.scene.HeatmapDisplay import DEFAULT_OPACITY


@parameterNodeWrapper
class ParameterNode:
    """The choices in the panel.

    Attributes:
        inputVolume: The scan.
        heatmap: The heatmap of the detection that is shown.
        contrast: T1, T2 or FLAIR; empty while nobody says it.
        bundle: Name of a shipped model or the folder of another; empty for the default one.
        device: As the engine takes it.
        quality: "full" or "fast".
        skull: "auto", "on" or "off".
        seed: Of the noise.
        opacity: Of the heatmap, 0..1.
        comparison: What the slice views show, one of `Comparison.MODES`.
        fade: Of the reconstruction over the scan, 0..1.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    heatmap: vtkMRMLScalarVolumeNode
    contrast: str = ""
    bundle: str = ""
    device: str = "auto"
    quality: str = FULL
    skull: str = "auto"
    seed: int = 0
    opacity: float = DEFAULT_OPACITY
    comparison: str = "heatmap"
    fade: float = 0.0
