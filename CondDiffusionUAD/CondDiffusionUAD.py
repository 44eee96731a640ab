"""The module as Slicer sees it: what it is, its panel, its logic and its tests. All else is in CondDiffusionUADLib."""

from __future__ import annotations

from typing import Any

from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModuleLogic,
)


class CondDiffusionUADLogic(ScriptedLoadableModuleLogic):
    """Detection for scripts: ``CondDiffusionUADLogic().detect(volumeNode)``."""

    def detect(self, volumeNode: Any, **options: Any) -> Any:
        """Look for anomalies in a scan; see `CondDiffusionUADLib.Application.detect` for the options."""
        from CondDiffusionUADLib.Application import detect

        return detect(volumeNode, **options)
