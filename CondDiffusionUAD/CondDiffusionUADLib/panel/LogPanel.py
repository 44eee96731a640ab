"""The part of the panel that helps with a bug report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Widgets import chosen
from CondDiffusionUADLib.run.DetectionLogic import DetectionLogic
from CondDiffusionUADLib.run.Diagnostics import diagnostics
from CondDiffusionUADLib.scene.Nodes import nodesOf


class LogPanel:
    """The button below the log.

    Args:
        ui: The widgets of the panel by name.
        logic: Runs detections, and keeps what they logged.
        say: Shows a message.
    """

    def __init__(self, ui: Any, logic: DetectionLogic, say: Callable[[str], None]) -> None:
        self._ui = ui
        self._logic = logic
        self._say = say
        ui.diagnosticsButton.clicked.connect(self._onCopy)

    def _onCopy(self, *_checked: Any) -> None:
        """Put the text for a bug report into the clipboard."""
        app, ui = slicer.app, self._ui
        application = f"{app.applicationName} {app.applicationVersion} ({app.repositoryRevision})"
        device = f"{chosen(ui.deviceBox)}; {ui.deviceHint.text}"
        names = tuple(node.GetName() or "" for node in nodesOf(slicer.mrmlScene, "vtkMRMLVolumeNode"))
        message = f"{ui.messageLabel.text} {ui.detailsLabel.text}".strip()
        text = diagnostics(application, device, chosen(ui.bundleBox), message, self._logic.log.text(), names)
        app.clipboard().setText(text)
        self._say(_("The diagnostics are in the clipboard."))
