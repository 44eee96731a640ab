"""Where the results lie in the subject hierarchy: in one folder, in the study of the input."""

from __future__ import annotations

from typing import Any

import slicer


def createResultFolder(scene: Any, inputNode: Any, name: str) -> int:
    """A new folder beside the input, hence in its study if it has one; returns the item's ID."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = hierarchy.GetItemParent(itemOf(hierarchy, inputNode))
    return hierarchy.CreateFolderItem(parent, name)


def nameDicomSource(scene: Any, segmentationNode: Any, inputNode: Any) -> None:
    """Tell Slicer's DICOM SEG export which DICOM images the segmentation refers to, if the input came from DICOM."""
    if instances := inputNode.GetAttribute("DICOM.instanceUIDs"):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        hierarchy.SetItemAttribute(itemOf(hierarchy, segmentationNode), "DICOM.ReferencedInstanceUIDs", instances)


def putIntoFolder(scene: Any, folderItem: int, node: Any) -> None:
    """Move a node into the folder."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.SetItemParent(itemOf(hierarchy, node), folderItem)


def itemOf(hierarchy: Any, node: Any) -> int:
    """The item of a node. Slicer makes one for every node; outside of the application that is left to us."""
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return item
