"""The part of the panel that says what is examined and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.job import CONTRASTS
from CondDiffusionUADLib.panel.ComboBox import choose, chosen, fill
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.Application import chooseBundle, dicomValue, settingsFor
from CondDiffusionUADLib.run.Bundles import FAST, FULL, BundleInfo, installedBundles, readBundle
from CondDiffusionUADLib.run.DetectionRun import Settings
from CondDiffusionUADLib.run.DeviceProbe import Devices
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.scene.InputVolume import guessContrast, preselected

_OTHER = "..."


class InputPanel:
    """Volume, contrast, model, device and quality.

    Args:
        ui: The widgets of the panel by name.
        changed: Called after every change.
        say: Shows a message.
    """

    def __init__(self, ui: Any, changed: Callable[[], None], say: Callable[[str], None]) -> None:
        self._ui = ui
        self._say = say
        self._changed = changed
        self._parameters: Any = None
        self._corrections: dict[str, str] = {}  # contrasts that the user chose, by volume ID
        fill(ui.qualityBox, [(_("Full"), FULL), (_("Fast"), FAST)], FULL)
        skulls = [(_("Find out"), "auto"), (_("There is a skull"), "on"), (_("Already stripped"), "off")]
        fill(ui.skullBox, skulls, "auto")
        self.showDevices(Devices((), _("What this computer has is found out when PyTorch is installed.")))
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolume)
        ui.contrastBox.currentIndexChanged.connect(self._onContrast)
        ui.bundleBox.currentIndexChanged.connect(self._onBundle)
        ui.deviceBox.currentIndexChanged.connect(self._onOptions)
        ui.qualityBox.currentIndexChanged.connect(self._onOptions)
        ui.skullBox.currentIndexChanged.connect(self._onOptions)
        ui.seedBox.valueChanged.connect(self._onOptions)
        ui.cardButton.toggled.connect(self._onCard)

    def setParameters(self, parameters: Any) -> None:
        """Show the choices of this parameter node from now on; None while there is no scene."""
        self._parameters = None
        if parameters is None:
            self._corrections.clear()
            return
        if parameters.inputVolume is None:
            parameters.inputVolume = self._preselected()
        self._ui.inputSelector.setCurrentNode(parameters.inputVolume)
        self._parameters = parameters
        self._showBundles()
        choose(self._ui.deviceBox, parameters.device)
        choose(self._ui.qualityBox, parameters.quality)
        choose(self._ui.skullBox, parameters.skull)
        self._ui.seedBox.value = parameters.seed
        if parameters.inputVolume is not None and not parameters.contrast:
            self._guess(parameters.inputVolume)
        self._showContrasts()

    def preselect(self) -> None:
        """Choose the volume that is most likely meant, if none is chosen."""
        if self._parameters is not None and self._ui.inputSelector.currentNode() is None:
            self._ui.inputSelector.setCurrentNode(self._preselected())

    @property
    def volume(self) -> Any:
        """The chosen volume, or None."""
        return self._ui.inputSelector.currentNode()

    def settings(self, healthyFlagged: float, minVolumeMl: float) -> Settings:
        """The settings of a run. Raises ProblemError."""
        chosenOnes = self._parameters
        if not chosenOnes.contrast:
            raise ProblemError(Problems.contrastUnknown())
        return settingsFor(
            self.volume,
            chosenOnes.contrast,
            chosenOnes.bundle,
            chosenOnes.device,
            chosenOnes.quality,
            healthyFlagged,
            minVolumeMl,
            skull=chosenOnes.skull,
            seed=chosenOnes.seed,
        )

    def setEnabled(self, enabled: bool) -> None:
        """Let the user choose, or not: while a scan is examined."""
        self._ui.scanSection.enabled = enabled

    def showDevices(self, devices: Devices) -> None:
        """Offer the devices that were found, and say what was found."""
        entries = [(_("Automatic"), "auto"), *((device.text, device.name) for device in devices.found)]
        if not devices.found:
            entries.append(("CPU", "cpu"))
        wanted = self._parameters.device if self._parameters is not None else "auto"
        if wanted not in [name for _text, name in entries]:
            entries.append((wanted, wanted))
        fill(self._ui.deviceBox, entries, wanted)
        self._ui.deviceHint.text = devices.hint

    def _preselected(self) -> Any:
        scene = slicer.mrmlScene
        count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        volumes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
        composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        background = composite.GetBackgroundVolumeID() if composite is not None else None
        return preselected(volumes, scene.GetNodeByID(background) if background else None)

    def _onVolume(self, node: Any) -> None:
        if self._parameters is not None:
            self._parameters.inputVolume = node
            self._parameters.contrast = ""
            self._ui.contrastHint.text = ""
            if node is not None:
                self._guess(node)
            self._showContrasts()
            self._changed()

    def _guess(self, node: Any) -> None:
        """Take the contrast that the user chose for this volume, else what its tags or its name tell."""
        correction = self._corrections.get(node.GetID())
        guess = (correction, "user") if correction else guessContrast(node, dicomValue)
        self._parameters.contrast = guess[0] if guess else ""
        told = {"DICOM": _("as the DICOM tags say"), "name": _("as the name says"), "user": _("as you chose")}
        self._ui.contrastHint.text = told[guess[1]] if guess else _("please choose")

    def _showContrasts(self) -> None:
        bundle = self._bundle()
        known = bundle.contrasts if bundle else CONTRASTS
        contrast = self._parameters.contrast
        offered = [contrast, *known] if contrast and contrast not in known else list(known)
        entries = [(_("Choose..."), ""), *((name, name) for name in offered)]
        fill(self._ui.contrastBox, entries, contrast)

    def _onContrast(self, *_index: Any) -> None:
        if self._parameters is not None:
            self._parameters.contrast = chosen(self._ui.contrastBox)
            if self.volume is not None:
                self._corrections[self.volume.GetID()] = self._parameters.contrast
            self._ui.contrastHint.text = _("as you chose") if self._parameters.contrast else _("please choose")
            self._changed()

    def _bundle(self) -> BundleInfo | None:
        try:
            return chooseBundle(self._parameters.bundle)
        except ProblemError:
            return None

    def _showBundles(self) -> None:
        bundles = {bundle.name: bundle.name for bundle in installedBundles()}
        entries = [(name, value) for value, name in bundles.items()]
        wanted = self._parameters.bundle
        if wanted and wanted not in bundles:
            other = self._bundle()
            entries.append((other.name if other else _("{folder} (missing)").format(folder=wanted), wanted))
        if not entries:
            entries.append((_("No model is installed"), ""))
        entries.append((_("Other folder..."), _OTHER))
        fill(self._ui.bundleBox, entries, wanted)
        self._showCard()

    def _onBundle(self, *_index: Any) -> None:
        if self._parameters is None:
            return
        name = chosen(self._ui.bundleBox)
        if name == _OTHER:
            name = self._askBundle() or self._parameters.bundle
        self._parameters.bundle = name
        self._showBundles()
        self._showContrasts()
        self._changed()

    def _askBundle(self) -> str:
        title = _("Choose the folder of a model (with configs/metadata.json)")
        folder = str(qt.QFileDialog.getExistingDirectory(self._ui.scanSection, title))
        if folder and readBundle(Path(folder)) is None:
            self._say(_("There is no model in {folder}.").format(folder=folder))
            return ""
        return folder

    def _showCard(self) -> None:
        bundle = self._bundle()
        self._ui.cardView.markdown = bundle.card if bundle else ""
        self._ui.bundleBox.toolTip = bundle.description if bundle else ""
        self._ui.cardButton.enabled = bool(bundle and bundle.card)

    def _onCard(self, shown: bool) -> None:
        self._ui.cardView.visible = shown

    def _onOptions(self, *_value: Any) -> None:
        if self._parameters is not None:
            self._parameters.device = chosen(self._ui.deviceBox) or "auto"
            self._parameters.quality = chosen(self._ui.qualityBox)
            self._parameters.skull = chosen(self._ui.skullBox)
            self._parameters.seed = int(self._ui.seedBox.value)
            self._changed()
