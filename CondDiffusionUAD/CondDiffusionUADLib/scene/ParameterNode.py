"""What the user chose in the panel, kept in the scene. The state of a run is not: it must not be saved with a scene."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

from conddiffusion_uad.protocol.bundle_folders import present_name
from conddiffusion_uad.protocol.job import CONTRASTS
from CondDiffusionUADLib.run.Bundles import FAST, FULL
from CondDiffusionUADLib.scene.Heatmap import DEFAULT_OPACITY
from CondDiffusionUADLib.scene.Nodes import isOffered
from CondDiffusionUADLib.scene.Views import MODES


@parameterNodeWrapper
class ParameterNode:
    """The choices in the panel. To be made with `openParameters`.

    Attributes:
        inputVolume: The scan.
        heatmap: The heatmap of the detection that is shown.
        contrast: T1, T2 or FLAIR; empty while nobody says it.
        bundle: Name of an installed model, never a folder: scenes are handed on. Empty for the usual one.
        device: As the engine takes it.
        quality: "full" or "fast".
        skull: "auto", "on" or "off".
        seed: Of the noise.
        uncertainty: Whether detections tell how sure the score is, too.
        locationPrior: Whether detections take something off where healthy brains are often marked.
        opacity: Of the heatmap, 0..1.
        comparison: What the slice views show, one of `Views.MODES`.
        fade: Of the reconstruction over the scan, 0..1.
        legend: Whether the color legend is shown.
        autoAdvance: Whether a decision leads on to the next finding.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    heatmap: vtkMRMLScalarVolumeNode
    contrast: str = ""
    bundle: str = ""
    device: str = "auto"
    quality: str = FULL
    skull: str = "auto"
    seed: int = 0
    uncertainty: bool = False
    locationPrior: bool = True
    opacity: float = DEFAULT_OPACITY
    comparison: str = "heatmap"
    fade: float = 0.0
    legend: bool = True
    autoAdvance: bool = True


def isBundleName(text: str) -> bool:
    """Whether a text can be the name of an installed model: one that leads into a folder is none."""
    return not set(text) & set('/\\:<>"|?*') and not text.startswith(".") and text.isprintable() and len(text) <= 100


def _isFraction(text: str) -> bool:
    return 0 <= float(text) <= 1


def _isSeed(text: str) -> bool:
    return 0 <= int(text) < 2**31 and str(int(text)) == text.strip()


def _isDevice(text: str) -> bool:
    return text.partition(":")[0] in ("auto", "cpu", "mps", "cuda") and text.isprintable() and len(text) <= 20


def _isTruth(text: str) -> bool:
    return text in ("True", "False")


_ACCEPTABLE: dict[str, Callable[[str], bool]] = {
    "contrast": lambda text: text in ("", *CONTRASTS),
    "bundle": isBundleName,
    "device": _isDevice,
    "quality": lambda text: text in (FULL, FAST),
    "skull": lambda text: text in ("auto", "on", "off"),
    "seed": _isSeed,
    "uncertainty": _isTruth,
    "locationPrior": _isTruth,
    "opacity": _isFraction,
    "comparison": lambda text: text in MODES,
    "fade": _isFraction,
    "legend": _isTruth,
    "autoAdvance": _isTruth,
}


def openParameters(parameterNode: Any) -> ParameterNode:
    """The choices in a parameter node, whatever is in it: what cannot be understood is taken out first.

    A scene may come from anybody, and Slicer's wrapper raises over the first value that it cannot read; it may also
    come from an earlier version, which had another name for a model.
    """
    for name, isAcceptable in _ACCEPTABLE.items():
        if parameterNode.HasParameter(name) and not _holds(isAcceptable, parameterNode.GetParameter(name)):
            parameterNode.UnsetParameter(name)
    if parameterNode.HasParameter("bundle"):
        parameterNode.SetParameter("bundle", present_name(parameterNode.GetParameter("bundle")))
    for name in ("inputVolume", "heatmap"):
        node = parameterNode.GetNodeReference(name)
        if node is not None and not (isOffered(node) if name == "inputVolume" else node.IsA("vtkMRMLScalarVolumeNode")):
            parameterNode.SetNodeReferenceID(name, None)
    return ParameterNode(parameterNode)


def _holds(isAcceptable: Callable[[str], bool], text: str) -> bool:
    try:
        return isAcceptable(text) and not (isAcceptable is _isFraction and math.isnan(float(text)))
    except (ValueError, OverflowError):
        return False
