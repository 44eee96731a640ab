"""The page with pictures that the worker draws of a result, kept in the scene as text, so that the file holds it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

MOST_BYTES = 16 << 20  # the pages take 1 MB; a scene may come from anybody
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def addOverview(scene: Any, path: Path, name: str) -> Any:
    """A text node with a page (PNG) from a file; None when the file is missing, too large or no PNG."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError:
        return None
    if not data.startswith(_SIGNATURE):
        return None
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
    node.SetText(base64.b64encode(data).decode("ascii"))
    node.SetDescription("A picture (PNG) as base64 text.")
    return node


def overviewOf(node: Any) -> bytes | None:
    """The page (PNG) that a text node holds; None when it holds something else."""
    text = node.GetText() if node is not None else None
    if not text or len(text) > 2 * MOST_BYTES:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if data.startswith(_SIGNATURE) else None
