"""The trained models that are there, from what their metadata says; torch may be missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from conddiffusion_uad.protocol.bundle_folders import imported_bundles
from conddiffusion_uad.protocol.bundle_section import (
    SECTION,
    contrasts,
    draws,
    kind,
    location_priors,
    maps,
    samples_for_uncertainty,
    timesteps,
)
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.job import USUAL_BUNDLE
from CondDiffusionUADLib.run.Folders import resource

FAST, FULL = "fast", "full"


@dataclass(frozen=True)
class BundleInfo:
    """A trained model.

    Attributes:
        name: For people, and for the engine when it is a shipped one.
        folder: Where it lies.
        contrasts: The contrasts that it is made for.
        levels: The noise levels it averages over.
        draws: Samples of the reconstruction at each of them.
        maps: The kind of anomaly map of each contrast.
        version: Of the model.
        description: In a sentence.
        method: What it makes its heatmap with, in a sentence.
        card: Its model card in Markdown; empty when it has none.
        expected: Findings that it has in healthy scans, by contrast; empty when nobody counted them.
        priors: The contrasts that it takes something off the score of where healthy brains are often marked.
    """

    name: str
    folder: Path
    contrasts: tuple[str, ...]
    levels: tuple[int, ...]
    draws: int
    maps: Mapping[str, str]
    version: str
    description: str
    method: str
    card: str
    expected: Mapping[str, ExpectedFindings]
    priors: tuple[str, ...] = ()

    def levelsFor(self, quality: str) -> tuple[int, ...] | None:
        """The noise levels for a quality: the middle one when it shall be fast; None for all of them."""
        return (self.levels[len(self.levels) // 2],) if quality == FAST and self.levels else None

    def expectedWith(
        self, quality: str, contrast: str, locationPrior: bool = True
    ) -> tuple[ExpectedFindings | None, ExpectedFindings | None]:
        """Findings in healthy scans of a contrast, None when nobody counted; and the same where they hold, else None.

        They hold for the noise levels that they were counted with, which are those of the quality `FULL`, and with the
        location prior, if there is one.
        """
        expected, levels = self.expected.get(contrast), self.levelsFor(quality)
        atOwnLevels = levels is None or set(levels) == set(self.levels)
        return expected, expected if atOwnLevels and (locationPrior or contrast not in self.priors) else None

    def whyNoLocationPrior(self, contrast: str) -> str:
        """Why it takes nothing off where healthy brains are often marked, in a sentence; empty when it does.

        Args:
            contrast: Of the scan; empty for any.
        """
        if contrast in self.priors or (not contrast and self.priors):
            return ""
        if self.priors:
            return _("The model {name} knows where healthy brains are often marked only for {contrasts}.").format(
                name=self.name, contrasts=", ".join(self.priors)
            )
        return _("The model {name} does not know where healthy brains are often marked.").format(name=self.name)

    def whyNoUncertainty(self, quality: str, contrast: str) -> str:
        """Why it cannot tell how sure its score is, in a sentence; empty when it can.

        Args:
            quality: `FULL` or `FAST`.
            contrast: Of the scan; empty for any.
        """
        samples = self.draws * len(self.levelsFor(quality) or self.levels)
        kinds = [kind for name, kind in self.maps.items() if contrast in ("", name)]
        least = max(map(samples_for_uncertainty, kinds), default=2)
        if samples >= least:
            return ""
        if self.draws * len(self.levels) >= least:
            return _("It takes {least} samples of the reconstruction; the quality Fast makes {samples}.").format(
                least=least, samples=samples
            )
        return _("It takes {least} samples of the reconstruction; the model {name} makes {samples}.").format(
            least=least, name=self.name, samples=samples
        )


def shippedBundles(models: Path | None = None) -> list[BundleInfo]:
    """The bundles that came with the extension, the usual one first; damaged ones are left out.

    Args:
        models: The folder that holds them; None for the extension's own.
    """
    try:
        models = models or resource("Models")
    except FileNotFoundError:
        return []
    found = [readBundle(path.parents[1]) for path in sorted(models.glob("*/configs/metadata.json"))]
    found = [bundle for bundle in found if bundle and not bundle.name.startswith(".")]
    return sorted(found, key=lambda bundle: (bundle.name != USUAL_BUNDLE, bundle.name))


def installedBundles() -> list[BundleInfo]:
    """The shipped bundles, then those that the user has imported with ``conddiffusion-uad bundle import``."""
    imported = imported_bundles()
    return shippedBundles() + (shippedBundles(imported) if imported else [])


def readBundle(folder: Path) -> BundleInfo | None:
    """What a bundle says about itself; None when the folder holds none that can be understood."""
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        section = metadata[SECTION]
        card = folder / "docs" / "README.md"
        return BundleInfo(
            name=folder.name,
            folder=folder,
            contrasts=contrasts(section),
            levels=timesteps(section),
            draws=draws(section),
            maps=maps(section),
            version=str(metadata.get("version", "")),
            description=str(metadata.get("description", "")),
            method=methodOf(section),
            card=card.read_text(encoding="utf-8") if card.is_file() else "",
            expected=_expected(folder / "configs" / "expected_findings.json"),
            priors=location_priors(section),
        )
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _expected(path: Path) -> dict[str, ExpectedFindings]:
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {contrast: ExpectedFindings.from_json(entry) for contrast, entry in entries.items()}


def methodOf(section: Mapping[str, Any]) -> str:
    """The method of a bundle, named by its parts. Raises KeyError, TypeError or ValueError when they are none.

    Args:
        section: Of the bundle's metadata.
    """
    made: dict[str, list[str]] = {}
    for contrast, name in maps(section).items():
        made.setdefault(name, []).append(contrast)
    told = _("anomaly map {kind} ({contrasts})")
    parts = [told.format(kind=name, contrasts=", ".join(of)) for name, of in made.items()]
    levels = ", ".join(map(str, timesteps(section)))
    restore = kind(section.get("restore")) or "one_step"
    parts.append(_("reconstruction {kind} at noise levels {levels}").format(kind=restore, levels=levels))
    if context := [kind(part) for part in section.get("context") or ()]:
        parts.append(_("context {kinds}").format(kinds=", ".join(context)))
    if adapt := kind(section.get("adapt")):
        parts.append(_("adaptation {kind}").format(kind=adapt))
    return "; ".join(parts)
