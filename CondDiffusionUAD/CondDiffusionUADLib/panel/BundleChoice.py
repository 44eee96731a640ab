"""Check boxes for what not every model can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Widgets import setQuietly, toolTipText
from CondDiffusionUADLib.run.Bundles import BundleInfo


class BundleChoice:
    """A check box that keeps the wish in the parameter node, also while it cannot be had.

    Args:
        box: The check box.
        name: Of the wish in the parameter node.
        whyNot: Says why a model cannot do it with what is chosen in a parameter node; empty when it can.
        meant: What the tool tip says where it can be had.
        bundle: Tells the chosen model; None when it is not installed.
        parameters: Tells the parameter node; None while there is no scene.
        changed: Called when the user changes the wish, with whether another volume is chosen.
    """

    def __init__(
        self,
        box: Any,
        name: str,
        whyNot: Callable[[BundleInfo, Any], str],
        meant: str,
        bundle: Callable[[], BundleInfo | None],
        parameters: Callable[[], Any],
        changed: Callable[[bool], None],
    ) -> None:
        self._box, self._name, self._whyNot, self._meant = box, name, whyNot, meant
        self._bundle = bundle
        self._parameters = parameters
        self._changed = changed
        box.toggled.connect(self._onToggled)

    @property
    def wanted(self) -> bool:
        """Whether it is wished, and can be had."""
        return bool(self._box.checked)

    def show(self) -> None:
        """Offer it where it can be had; the tool tip says what it is, or why it cannot."""
        bundle, parameters = self._bundle(), self._parameters()
        if parameters is None:
            return
        reason = self._whyNot(bundle, parameters) if bundle is not None else ""
        self._box.enabled = not reason
        setQuietly(self._box, "checked", getattr(parameters, self._name) and not reason)
        self._box.toolTip = toolTipText(reason or self._meant)

    def _onToggled(self, wanted: bool) -> None:
        parameters = self._parameters()
        if parameters is not None:
            setattr(parameters, self._name, bool(wanted))
            self._changed(False)


class BundleChoices:
    """The check boxes for what not every model can do.

    Args:
        ui: The widgets of the panel by name.
        told: `bundle`, `parameters` and `changed` of every `BundleChoice`.
    """

    def __init__(self, ui: Any, *told: Callable[..., Any]) -> None:
        self._uncertainty = BundleChoice(
            ui.uncertaintyBox,
            "uncertainty",
            lambda bundle, parameters: bundle.whyNoUncertainty(parameters.quality, parameters.contrast),
            _("Also tell how far samples of the reconstruction leave the score open. It takes longer."),
            *told,
        )
        self._locationPrior = BundleChoice(
            ui.locationPriorBox,
            "locationPrior",
            lambda bundle, parameters: bundle.whyNoLocationPrior(parameters.contrast),
            _("Take something off the score where healthy brains are often marked. Without it, nothing is promised."),
            *told,
        )

    @property
    def settings(self) -> dict[str, bool]:
        """Fields of `Settings`."""
        return {"uncertainty": self._uncertainty.wanted, "locationPrior": self._locationPrior.wanted}

    def show(self) -> None:
        """Offer each where it can be had."""
        self._uncertainty.show()
        self._locationPrior.show()
