"""Goes on with the click after Slicer was restarted in the middle of an installation.

What is needed for that is kept in the user's settings while packages are being installed, and is removed when the
installation is over or when it was used.
"""

from __future__ import annotations

import json
from typing import Any

_KEY = "CondDiffusionUAD/ResumeAfterRestart"


def remember(settings: Any, volumeNode: Any, parameters: Any) -> None:
    """Remember what was about to be examined.

    Args:
        settings: The user's settings.
        volumeNode: The scan; it can only be loaded again when it came from a file.
        parameters: The parameter node.
    """
    storage = volumeNode.GetStorageNode() if volumeNode is not None else None
    kept = {
        "file": (storage.GetFileName() or "") if storage is not None else "",
        "name": volumeNode.GetName() if volumeNode is not None else "",
        "contrast": parameters.contrast,
        "bundle": parameters.bundle,
        "device": parameters.device,
        "quality": parameters.quality,
        "skull": parameters.skull,
        "seed": parameters.seed,
    }
    settings.setValue(_KEY, json.dumps(kept))
    settings.sync()


def forget(settings: Any) -> None:
    """There is nothing to go on with."""
    settings.remove(_KEY)


def isPending(settings: Any) -> bool:
    """Whether there is something to go on with."""
    return bool(settings.value(_KEY))


def take(settings: Any) -> dict[str, Any] | None:
    """What was remembered, once; None when there is nothing."""
    text = settings.value(_KEY)
    forget(settings)
    try:
        kept = json.loads(str(text)) if text else None
    except ValueError:
        return None
    return kept if isinstance(kept, dict) else None


def apply(kept: dict[str, Any], parameters: Any) -> None:
    """Put the remembered choices into a parameter node."""
    for name in ("contrast", "bundle", "device", "quality", "skull"):
        if isinstance(kept.get(name), str):
            setattr(parameters, name, kept[name])
    if isinstance(kept.get("seed"), int):
        parameters.seed = kept["seed"]
