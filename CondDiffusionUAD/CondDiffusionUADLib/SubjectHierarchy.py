"""Where the results lie in the subject hierarchy: in one folder, in the study of the input."""

from __future__ import annotations

from typing import Any

import slicer


def createResultFolder(scene: Any, inputNode: Any, name: str) -> int:
    """A new folder beside the input, hence in its study if it has one; returns the item's ID."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = hierarchy.GetItemParent(_itemOf(hierarchy, inputNode))
    return hierarchy.CreateFolderItem(parent, name)


def putIntoFolder(scene: Any, folderItem: int, node: Any) -> None:
    """Move a node into the folder."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.SetItemParent(_itemOf(hierarchy, node), folderItem)


def _itemOf(hierarchy: Any, node: Any) -> int:
    """The item of a node. Slicer makes one for every node; outside of the application that is left to us."""
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return item
