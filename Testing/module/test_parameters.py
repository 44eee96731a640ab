"""The choices in a scene: whatever is in the parameter node, the panel gets choices that it can show."""

from __future__ import annotations

from typing import Any

import pytest
import slicer
from mrml_application import MrmlApplication
from standin.application import Application

from conddiffusion_uad.protocol.job import USUAL_BUNDLE

DEFAULTS = {"seed": 0, "opacity": 0.6, "fade": 0.0, "quality": "full", "bundle": "", "comparison": "heatmap"}


@pytest.fixture
def node(mrml: MrmlApplication) -> Any:
    """A parameter node."""
    return mrml.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "CondDiffusionUAD")


def test_the_wrapper_raises_over_what_it_cannot_read(app: Application, node: Any) -> None:
    """As Slicer's does: this is what `openParameters` is for."""
    from CondDiffusionUADLib.scene.ParameterNode import ParameterNode

    node.SetParameter("seed", "abc")
    with pytest.raises(ValueError, match="abc"):
        ParameterNode(node)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "abc"),
        ("seed", "1" * 5000),
        ("seed", "-1"),
        ("opacity", "nan"),
        ("opacity", "1e400"),
        ("opacity", ""),
        ("fade", "-0.5"),
        ("quality", "best"),
        ("comparison", "<b>"),
        ("bundle", "/x/default"),
        ("bundle", r"\\host\share\default"),
        ("bundle", "//host/share/default"),
        ("bundle", "C:default"),
        ("bundle", ".."),
        ("bundle", "a" * 1000),
    ],
)
def test_what_cannot_be_understood_is_the_default(app: Application, node: Any, name: str, text: str) -> None:
    from CondDiffusionUADLib.scene.ParameterNode import openParameters

    node.SetParameter(name, text)
    parameters = openParameters(node)
    assert getattr(parameters, name) == DEFAULTS[name]
    assert node.GetParameter(name) == str(DEFAULTS[name]), "and is not handed on with the scene"


def test_what_can_be_is_kept(app: Application, node: Any) -> None:
    from CondDiffusionUADLib.scene.ParameterNode import openParameters

    for name, text in {"seed": "7", "opacity": "0.25", "bundle": "my model 2", "device": "cuda:1"}.items():
        node.SetParameter(name, text)
    parameters = openParameters(node)
    assert (parameters.seed, parameters.opacity, parameters.bundle) == (7, 0.25, "my model 2")
    assert parameters.device == "cuda:1" and parameters.legend is True


def test_a_model_is_known_by_its_former_name(app: Application, node: Any) -> None:
    from CondDiffusionUADLib.run.Application import chooseBundle
    from CondDiffusionUADLib.scene.ParameterNode import openParameters

    node.SetParameter("bundle", "default")
    assert openParameters(node).bundle == node.GetParameter("bundle") == "residual"
    assert chooseBundle("default") == chooseBundle("residual") and chooseBundle("").name == USUAL_BUNDLE


def test_what_a_script_changes_arrives(app: Application, node: Any) -> None:
    from CondDiffusionUADLib.scene.ParameterNode import openParameters

    parameters = openParameters(node)
    openParameters(node).seed = 5
    assert parameters.seed == 5
    node.SetParameter("seed", "6")
    assert parameters.seed == 6


def test_a_reference_to_something_else_is_none(app: Application, mrml: MrmlApplication, scan: Any, node: Any) -> None:
    from CondDiffusionUADLib.scene.Nodes import ROLE_ATTRIBUTE
    from CondDiffusionUADLib.scene.ParameterNode import openParameters

    labels = mrml.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    table = mrml.scene.AddNewNodeByClass("vtkMRMLTableNode")
    heatmap = mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    heatmap.SetAttribute(ROLE_ATTRIBUTE, "heatmap")
    for other in (labels, heatmap, table):
        node.SetNodeReferenceID("inputVolume", other.GetID())
        assert openParameters(node).inputVolume is None
    node.SetNodeReferenceID("heatmap", table.GetID())
    assert openParameters(node).heatmap is None
    node.SetNodeReferenceID("inputVolume", scan.GetID())
    assert openParameters(node).inputVolume is scan


def test_results_and_labels_are_not_offered_as_scans(app: Application, mrml: MrmlApplication, scan: Any) -> None:
    from CondDiffusionUADLib.scene.Nodes import ROLE_ATTRIBUTE, notScans

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(mrml.scene)
    others = [mrml.scene.AddNewNodeByClass(f"vtkMRML{kind}VolumeNode") for kind in ("LabelMap", "Vector", "Scalar")]
    others[2].SetAttribute(ROLE_ATTRIBUTE, "reconstruction")
    assert selector.count() == 4, "Slicer's combo box lists derived classes unless it is told not to"
    selector.sortFilterProxyModel().hiddenNodeIDs = notScans(mrml.scene)
    listed = {selector.itemData(index) for index in range(selector.count())}
    assert listed == {scan.GetID(), others[1].GetID()}, "an image in a vector volume may be a scan"
    selector.setMRMLScene(None)
