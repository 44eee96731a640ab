"""The part of the panel that says what is examined and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.job import CONTRASTS
from CondDiffusionUADLib.panel.BundleChoice import BundleChoices
from CondDiffusionUADLib.panel.Room import Sight
from CondDiffusionUADLib.panel.Widgets import CardBrowser, choose, chosen, fill, quiet, setQuietly, toolTipText
from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.Application import dicomValue, imagesOf, moduleLogics, settingsFor, whyNotExamined
from CondDiffusionUADLib.run.Bundles import FAST, FULL, BundleInfo, installedBundles
from CondDiffusionUADLib.run.DetectionRun import Settings
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.run.Readiness import Devices
from CondDiffusionUADLib.scene.Images import Image, imagesLeftOut, takeOut
from CondDiffusionUADLib.scene.InputVolume import contrastDoubt, guessContrast, preselected, toldContrast
from CondDiffusionUADLib.scene.Nodes import nodesOf, notScans


class InputPanel:
    """Volume, contrast, model, device and quality.

    Args:
        ui: The widgets of the panel by name.
        changed: Called after every change, with whether another volume is chosen.
    """

    def __init__(self, ui: Any, changed: Callable[[bool], None]) -> None:
        self._ui = ui
        self._changed = changed
        self._parameters: Any = None
        self._examined = ""  # the ID of the volume that was looked at
        self._images: tuple[Image, ...] = ()  # in it
        self._reason = ""  # why it cannot be examined
        self._corrections: dict[str, str] = {}  # contrasts that the user chose, by volume ID
        self._sight = Sight((ui.inputSelector, ui.sampleButton), beside=(ui.disclaimerLabel,))
        self._card = CardBrowser()
        ui.cardArea.layout().addWidget(self._card)
        fill(ui.qualityBox, [(_("Full"), FULL), (_("Fast"), FAST)], FULL)
        skulls = [(_("Find out"), "auto"), (_("There is a skull"), "on"), (_("Already stripped"), "off")]
        fill(ui.skullBox, skulls, "auto")
        self.showDevices(Devices((), _("What this computer has is found out at the first detection.")))
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolume)
        ui.imageBox.currentIndexChanged.connect(self._onImage)
        ui.contrastBox.currentIndexChanged.connect(self._onContrast)
        ui.bundleBox.currentIndexChanged.connect(self._onBundle)
        for box in (ui.deviceBox, ui.qualityBox, ui.skullBox):
            box.currentIndexChanged.connect(self._onOptions)
        ui.seedBox.valueChanged.connect(self._onOptions)
        self._choices = BundleChoices(ui, self._bundle, lambda: self._parameters, changed)
        ui.cardButton.toggled.connect(self._onCard)

    def setParameters(self, parameters: Any) -> None:
        """Show the choices of this parameter node from now on; None while there is no scene."""
        self._parameters = None
        self.offerScans()
        if parameters is None:
            self._sight.stop()
            self._corrections.clear()
            self._look(None)
            self._ui.contrastHint.text = ""
            return
        if parameters.inputVolume is None:
            parameters.inputVolume = self._preselected()
        with quiet(self._ui.inputSelector):
            self._ui.inputSelector.setCurrentNode(parameters.inputVolume)
        self._parameters = parameters
        self.showBundles()
        self._look(parameters.inputVolume)
        if parameters.inputVolume is not None and not parameters.contrast:
            self._guess(parameters.inputVolume)
        self.showParameters()
        self._sight.ask(beside=True)

    def showParameters(self) -> None:
        """Show the choices again: a script may have changed them."""
        parameters = self._parameters
        if parameters is None:
            return
        if parameters.inputVolume is not self.volume:
            self._ui.inputSelector.setCurrentNode(parameters.inputVolume)
        bundle = self._bundle()
        if (bundle.name if bundle else parameters.bundle) != chosen(self._ui.bundleBox):
            self.showBundles()
        choose(self._ui.deviceBox, parameters.device)
        choose(self._ui.qualityBox, parameters.quality)
        choose(self._ui.skullBox, parameters.skull)
        setQuietly(self._ui.seedBox, "value", parameters.seed)
        self._showContrasts()

    def offerScans(self) -> None:
        """Offer every scan in the scene, and nothing that the module made itself."""
        self._ui.inputSelector.sortFilterProxyModel().hiddenNodeIDs = tuple(notScans(slicer.mrmlScene))
        self._sayWhatIsMissing()

    def preselect(self) -> None:
        """Choose the volume that is most likely meant, if none is chosen."""
        self.offerScans()
        if self._parameters is not None and self.volume is None:
            self._ui.inputSelector.setCurrentNode(self._preselected())

    def forgetVolume(self, node: Any) -> None:
        """A volume is about to be deleted: choose none instead, before the list chooses another by itself."""
        if self.volume is not None and node is self.volume:
            self._ui.inputSelector.setCurrentNode(None)

    @property
    def volume(self) -> Any:
        """The chosen volume, or None."""
        return self._ui.inputSelector.currentNode()

    @property
    def canExamine(self) -> bool:
        """Whether a volume is chosen that can be a scan."""
        return self.volume is not None and not self._reason

    @property
    def bundleFolder(self) -> str:
        """The folder of the chosen model; empty when it is not installed."""
        bundle = self._bundle()
        return str(bundle.folder) if bundle is not None else ""

    @property
    def expected(self) -> tuple[ExpectedFindings | None, ExpectedFindings | None]:
        """See `BundleInfo.expectedWith`."""
        asked = self._parameters
        bundle = self._bundle() if asked is not None else None
        return bundle.expectedWith(asked.quality, asked.contrast, asked.locationPrior) if bundle else (None, None)

    def settings(self, healthyFlagged: float, minVolumeMl: float) -> Settings:
        """The settings of a run. Raises ProblemError."""
        chosenOnes = self._parameters
        if self._images:
            raise ProblemError(Problems.severalImages([image.title for image in self._images]))
        if not chosenOnes.contrast:
            raise ProblemError(Problems.contrastUnknown())
        bundle = self._bundle()
        if bundle is None:
            raise ProblemError(Problems.unknownBundle(chosenOnes.bundle))
        return settingsFor(
            self.volume,
            contrast=chosenOnes.contrast,
            bundle=bundle.name,
            device=chosenOnes.device,
            quality=chosenOnes.quality,
            healthyFlagged=healthyFlagged,
            minVolumeMl=minVolumeMl,
            skull=chosenOnes.skull,
            seed=chosenOnes.seed,
            **self._choices.settings,
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

    def showBundles(self) -> None:
        """Offer the models that are installed."""
        names = [bundle.name for bundle in installedBundles()]
        entries = [(name, name) for name in names]
        wanted = self._parameters.bundle if self._parameters is not None else ""
        if wanted and wanted not in names:
            entries.append((_("{name} (not installed)").format(name=wanted), wanted))
        if not names:
            entries.append((_("No model is installed"), ""))
        fill(self._ui.bundleBox, entries, wanted)
        self._showCard()

    def _preselected(self) -> Any:
        scene = slicer.mrmlScene
        composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        background = composite.GetBackgroundVolumeID() if composite is not None else None
        shown = scene.GetNodeByID(background) if background else None
        return preselected(nodesOf(scene, "vtkMRMLScalarVolumeNode"), shown)

    def _sayWhatIsMissing(self) -> None:
        """Say why nothing can be detected, while that is so."""
        scene = slicer.mrmlScene
        scans = len(nodesOf(scene, "vtkMRMLScalarVolumeNode")) > len(notScans(scene))
        self._ui.sampleArea.visible = self.volume is None
        self._ui.sampleButton.visible = not scans
        empty = _("Load a brain MRI (T1, T2 or FLAIR) to detect anomalies in it, or try a synthetic one:")
        self._ui.sampleLabel.text = _("Choose the volume with the brain MRI.") if scans else empty

    def _onVolume(self, node: Any) -> None:
        renamed = node is not None and node.GetID() == self._examined  # Slicer's list tells of that, too
        if self._parameters is not None and not renamed:
            self._parameters.inputVolume = node
            self._parameters.contrast = ""
            self._ui.contrastHint.text = ""
            self._look(node)
            if node is not None:
                self._guess(node)
            self._showContrasts()
            self._sayWhatIsMissing()
            self._changed(True)

    def _guess(self, node: Any) -> None:
        """Take the contrast that the user chose for this volume, else what its tags or its name tell."""
        correction = self._corrections.get(node.GetID())
        guess = (correction, "user") if correction else guessContrast(node, dicomValue)
        self._parameters.contrast = guess[0] if guess else ""
        told = {"DICOM": _("as the DICOM tags say"), "name": _("as the name says"), "user": _("as you chose")}
        self._ui.contrastHint.text = told[guess[1]] if guess else _("please choose")

    def _look(self, node: Any) -> None:
        """Look at the chosen volume: whether it is one scan, and what the scan seems to be."""
        self._examined = node.GetID() if node is not None else ""
        self._images = imagesOf(node) if node is not None else ()
        several = _("The volume holds {count} images. Choose one: it becomes a volume of its own.")
        self._reason = several.format(count=len(self._images)) if self._images else whyNotExamined(node) if node else ""
        hint = self._reason or (imagesLeftOut(node) if node else "")
        fill(self._ui.imageBox, [(_("Choose..."), ""), *((image.title, image.title) for image in self._images)], "")
        for widget in (self._ui.imageLabel, self._ui.imageBox):
            widget.visible = bool(self._images)
        self._ui.imageHint.text, self._ui.imageHint.visible = hint, bool(hint)
        doubt = contrastDoubt(toldContrast(node, dicomValue)) if node is not None and not self._reason else ""
        self._ui.contrastDoubt.text, self._ui.contrastDoubt.visible = doubt, bool(doubt)

    def _onImage(self, *_index: Any) -> None:
        """Take the chosen image out of the volume, and go on with it."""
        title = chosen(self._ui.imageBox)
        image = next((image for image in self._images if image.title == title), None)
        if image is None or self.volume is None:
            return
        node = takeOut(self.volume, image, moduleLogics().volumes)
        if node is None:
            choose(self._ui.imageBox, "")
            self._ui.imageHint.text = _("Slicer cannot read the files of {image} any more.").format(image=title)
            return
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        self._ui.inputSelector.setCurrentNode(node)

    def _showContrasts(self) -> None:
        bundle = self._bundle()
        known = bundle.contrasts if bundle else CONTRASTS
        contrast = self._parameters.contrast
        offered = [contrast, *known] if contrast and contrast not in known else list(known)
        entries = [(_("Choose..."), ""), *((name, name) for name in offered)]
        fill(self._ui.contrastBox, entries, contrast)
        self._choices.show()

    def _onContrast(self, *_index: Any) -> None:
        if self._parameters is not None:
            self._parameters.contrast = chosen(self._ui.contrastBox)
            if self.volume is not None:
                self._corrections[self.volume.GetID()] = self._parameters.contrast
            self._ui.contrastHint.text = _("as you chose") if self._parameters.contrast else _("please choose")
            self._choices.show()
            self._changed(False)

    def _bundle(self) -> BundleInfo | None:
        """The chosen model, of those that are installed: a scene from elsewhere cannot name another."""
        wanted = self._parameters.bundle if self._parameters is not None else ""
        return next((bundle for bundle in installedBundles() if wanted in ("", bundle.name)), None)

    def _onBundle(self, *_index: Any) -> None:
        if self._parameters is not None:
            self._parameters.bundle = chosen(self._ui.bundleBox)
            self._showCard()
            self._showContrasts()
            self._changed(False)

    def _showCard(self) -> None:
        bundle = self._bundle()
        method = _("Method: {parts}.").format(parts=bundle.method.replace("_", r"\_")) if bundle else ""
        self._card.markdown = f"{method}\n\n{bundle.card or bundle.description}" if bundle else ""
        self._ui.bundleBox.toolTip = toolTipText(bundle.description) if bundle else ""
        self._ui.cardButton.enabled = bundle is not None

    def _onCard(self, shown: bool) -> None:
        self._ui.cardArea.visible = shown

    def _onOptions(self, *_value: Any) -> None:
        if self._parameters is not None:
            self._parameters.device = chosen(self._ui.deviceBox) or "auto"
            self._parameters.quality = chosen(self._ui.qualityBox)
            self._parameters.skull = chosen(self._ui.skullBox)
            self._parameters.seed = int(self._ui.seedBox.value)
            self._choices.show()
            self._changed(False)
