"""The part of the panel that asks whether to tell how sure the score is, where a model can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Widgets import setQuietly, toolTipText
from CondDiffusionUADLib.run.Bundles import BundleInfo


class UncertaintyChoice:
    """A check box that keeps the wish in the parameter node, also while it cannot be had.

    Args:
        box: The check box.
        bundle: Tells the chosen model; None when it is not installed.
        parameters: Tells the parameter node; None while there is no scene.
        changed: Called when the user changes the wish, with whether another volume is chosen.
    """

    def __init__(
        self,
        box: Any,
        bundle: Callable[[], BundleInfo | None],
        parameters: Callable[[], Any],
        changed: Callable[[bool], None],
    ) -> None:
        self._box = box
        self._bundle = bundle
        self._parameters = parameters
        self._changed = changed
        box.toggled.connect(self._onToggled)

    @property
    def wanted(self) -> bool:
        """Whether it is wished, and can be had."""
        return bool(self._box.checked)

    def show(self) -> None:
        """Offer it where there can be one; the tool tip says what it is, or why there is none."""
        bundle, parameters = self._bundle(), self._parameters()
        if parameters is None:
            return
        reason = bundle.whyNoUncertainty(parameters.quality, parameters.contrast) if bundle is not None else ""
        self._box.enabled = not reason
        setQuietly(self._box, "checked", parameters.uncertainty and not reason)
        meant = _("Also tell how far samples of the reconstruction leave the score open. It takes longer.")
        self._box.toolTip = toolTipText(reason or meant)

    def _onToggled(self, wanted: bool) -> None:
        parameters = self._parameters()
        if parameters is not None:
            parameters.uncertainty = bool(wanted)
            self._changed(False)
