"""Which contrast a scan has, as its DICOM tags and its name tell. Standard library only, for Slicer to ask too.

Only T1, T2 and FLAIR without contrast agent are ever told; whatever else is recognized (contrast agent, proton density,
T2*, diffusion, angiography, maps, ...) is named, so that a person can be asked with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TAGS = {
    "Modality": "0008,0060",
    "ImageType": "0008,0008",
    "SeriesDescription": "0008,103E",
    "ProtocolName": "0018,1030",
    "AcquisitionContrast": "0008,9209",
    "ComplexImageComponent": "0008,9208",
    "ContrastBolusAgent": "0018,0010",
    "ContrastBolusVolume": "0018,1041",
    "ScanningSequence": "0018,0020",
    "SequenceName": "0018,0024",
    "EchoTime": "0018,0081",
    "InversionTime": "0018,0082",
    "RepetitionTime": "0018,0080",
    "DiffusionBValue": "0018,9087",
}
"""The tags that tell of the contrast, by keyword; Slicer asks its database for "gggg,eeee"."""

NO_MRI = "no magnetic resonance image"
_AGENT = "an image after contrast agent"
_MAP = "a map that was computed, not an image as the scanner takes it"
_DIFFUSION = "a diffusion image"
_NO_AGENT = re.compile(
    r"\b(ohne|without|w/?o|no|non|sans|senza|sin|pre|vor|before)[ -]?(km|mdc|[ck]ontrast\w*|gado?\w*|gd|ce|c)\b"
    r"|\bnativ\w*|\bce-none\b|\b(un|non?|not|pre)[ -]?(contrast[ -]?)?enhanced\b"
    r"|без контраст\w*|非造影|非增强|平扫|単純",
    re.IGNORECASE,
)
_AGENT_IN_OTHER_SCRIPTS = re.compile(r"контраст|造影|增强|增強|増強", re.IGNORECASE)
_OTHERS = {  # what a name says, and what it then is
    r"gado\w*|gad|gd|km|ce|[+]c|c[+]|mdc|post|pc|[kc]m[+]|[+]km|iv[+]|[+]iv|delay(ed)?": _AGENT,
    r"[ck]ontrast\w*|enhanced|inj(ected|ecté)?": _AGENT,
    r"dotarem|magnevist|clariscan|prohance|vueway|elucirem|omniscan|(multi|vaso)\w*hance|primovist|eovist": _AGENT,
    r"t1(w|_w)?[ -]?(ce|c|gd|gad|km|post|[+]c|[+])": _AGENT,
    r"t1(w)?c|t1(w)?ce|t1(w)?gd|t1(w)?km": _AGENT,
    r"pd|pdw|proton\w*": "a proton density image",
    r"t2[ -]?star|t2 ?s|t2[*]\w*|t2w?[ -]?(gre|ffe|fl[23]d|flash|hemo|merge|medic)\w*|hemo\w*|medic": "a T2* image",
    r"swi|swan|suscept\w*|venobold|qsm|phase|pha": "a susceptibility or phase image",
    r"mra|tof|angio\w*|pca|mip|minip|mnip": "an angiography or a projection",
    r"dwi|dti|diff\w*|trace\w*|ep2d\w*|b ?(?:[5-9]00|[123][05]00)": _DIFFUSION,
    r"t[12][ -]?rho|qt[12]|quantitative|symri": "a quantitative image, or one that was computed",
    r"mt|mtc|mtr|mtsat|mton|mtoff": "a magnetization transfer image",
    r"subtr\w*|sub(?= (t[12]|flair|ax|tra|sag|cor))": "a subtraction",
    r"(brain|head|lesion)?masks?|d?seg|segmentation|labels?|aseg|aparc\w*": "a segmentation or a mask",
    r"adc|eadc|map|maps|mapping|t1map|t2map|r2s|r2star|cbf|cbv|mtt|ttp|tmax|relcbv": _MAP,
    r"perf\w*|dyn|dynamic|dsc|dce|asl|bold|fmri|epi|mrs|csi|cest": "a perfusion, functional or spectroscopic image",
    r"stir|fgatir|psir|dir|mp2rage\w*|ir[ -]?map": "an inversion recovery image that is neither T1 nor FLAIR",
    r"dess|t2[ -]?prep\w*|myelo\w*|ciss|fiesta\w*|trufi\w*|bffe|ssfp\w*": "a balanced steady-state image",
    r"loc|localizer|localiser|scout|survey|3[ -]?plane|topogram": "a localizer",
    r"ct|cta|ncct|cct|pet|suv": NO_MRI,
}
_OTHER = [(re.compile(rf"(?<![a-z0-9])({words})(?![a-z])", re.IGNORECASE), kind) for words, kind in _OTHERS.items()]
_TIRM = re.compile(r"(?<![a-z])(tirm|tirf)(?![a-z])", re.IGNORECASE)
_NAMES = {
    "FLAIR": re.compile(r"flair|dark[ -]?fluid|(?<![a-z0-9])t2f(?![a-z0-9])", re.IGNORECASE),
    "T1": re.compile(r"(?<![a-z0-9])(t1[wn]?|[es]t1w)(?![a-z0-9])|mp[ -]?rage|bravo|spgr", re.IGNORECASE),
    "T2": re.compile(r"(?<![a-z0-9])(t2w?|[es]t2w)(?![a-z0-9*])", re.IGNORECASE),
}
_BY_MACHINE = {  # AcquisitionContrast, PS3.3 C.8.13.3.1.1
    "T1": "T1",
    "T2": "T2",
    "FLUID_ATTENUATED": "FLAIR",
    "T2_STAR": "a T2* image",
    "PROTON_DENSITY": "a proton density image",
    "DIFFUSION": _DIFFUSION,
    "STIR": "a STIR image",
    "TOF": "an angiography or a projection",
    "PERFUSION": "a perfusion, functional or spectroscopic image",
    "FLOW_ENCODED": "an angiography or a projection",
    "TAGGING": "a tagged image",
}
_IMAGE_TYPES = {  # values of ImageType
    "ADC|EADC|FA|T1 ?MAP|T2 ?MAP|T2_?STAR ?MAP|R2\\w*|CBF|CBV|RELCBV|MTT|TTP|TMAX|PERFUSION\\w*|\\w* MAP": _MAP,
    "DIFFUSION|TRACEW|DWI|ISO\\w*": _DIFFUSION,
    "P|PHASE\\w*|VELOCITY|SWI|SWAN|R|I|REAL|IMAGINARY": "a phase, real or imaginary image",
    "MIP|MINIP|MNIP|PROJECTION IMAGE|TOF|ANGIO": "an angiography or a projection",
    "SUBTRACTION|SUB": "a subtraction",
    "LOCALIZER": "a localizer",
}
_NO_VALUE = ("", "NO", "NONE", "N", "0", "OFF", "NO CONTRAST", "WITHOUT")
_FLAIR_TI_MS, _STIR_TI_MS = (1400.0, 3500.0), 400.0
_T1_TI_MS = 1400.0
_LONG_TE_MS, _SHORT_TE_MS = 60.0, 45.0  # least of FLAIR and T2; most of T1


@dataclass(frozen=True)
class Told:
    """What is told of a scan's contrast.

    Attributes:
        contrast: "T1", "T2" or "FLAIR"; None when none of them is told.
        other: What it is instead, as the end of a sentence; empty when nothing is known.
        source: What tells it: "SeriesDescription", "InversionTime", "the name", ...
        value: What stands there.
    """

    contrast: str | None
    other: str = ""
    source: str = ""
    value: str = ""

    def reason(self) -> str:
        """Why the contrast is not told, as one sentence; empty when it is."""
        if self.contrast is not None:
            return ""
        if not self.other:
            return "Neither the scan nor its name says which contrast it has."
        return f"The scan seems to be {self.other}: {self.source} is {self.value!r}."


def contrast_of(tags: Mapping[str, str], name: str = "") -> Told:
    """What the tags, and then the name, of a scan tell.

    Args:
        tags: Values of `TAGS` by keyword, several values of one tag with "\\\\" between them; missing ones left out.
        name: Of its file, folder or volume.
    """
    by_tags = _by_agent(tags) or _by_kind(tags) or _by_times(tags)
    for source in ("SeriesDescription", "ProtocolName"):
        by_text = told_by(tags.get(source, ""), source)
        if by_text.contrast or by_text.other:
            break
    else:
        by_text = told_by(name, "its name")
    return _agreed(by_tags, by_text, tags)


def told_by(text: str, source: str = "its name") -> Told:
    """What a text tells; a T2-weighted FLAIR is a FLAIR; "T1 to T2" and "T1 post" tell none."""
    plain = _NO_AGENT.sub(" ", text.replace("_", " ").replace("/", " "))
    for pattern, kind in _OTHER:
        if pattern.search(plain):
            return Told(None, kind, source, text)
    if _AGENT_IN_OTHER_SCRIPTS.search(plain):
        return Told(None, _AGENT, source, text)
    named = [contrast for contrast, pattern in _NAMES.items() if pattern.search(plain)]
    if named == ["FLAIR", "T2"]:
        named = ["FLAIR"]
    if _TIRM.search(plain) and named != ["FLAIR"]:
        return Told(None, "an inversion recovery image, FLAIR or STIR by its inversion time", source, text)
    if len(named) > 1:
        return Told(None, f"{' or '.join(named)}", source, text)
    return Told(named[0], "", source, text) if named else Told(None)


def named_in(text: str) -> str | None:
    """The contrast that a text names, or None."""
    return told_by(text).contrast


def _by_agent(tags: Mapping[str, str]) -> Told | None:
    for keyword in ("ContrastBolusAgent", "ContrastBolusVolume"):
        value = tags.get(keyword, "").strip()
        if value.upper() not in _NO_VALUE and _number(value) != 0:
            return Told(None, _AGENT, keyword, value)
    return None


def _by_kind(tags: Mapping[str, str]) -> Told | None:
    """What modality, image type and the machine's own word tell."""
    if tags.get("Modality", "MR") not in ("MR", ""):
        return Told(None, NO_MRI, "Modality", tags["Modality"])
    if (b_value := _number(tags.get("DiffusionBValue"))) and b_value > 0:
        return Told(None, _DIFFUSION, "DiffusionBValue", tags["DiffusionBValue"])
    for part in tags.get("ImageType", "").upper().split("\\")[2:]:
        for words, kind in _IMAGE_TYPES.items():
            if re.fullmatch(words, part.strip()):
                return Told(None, kind, "ImageType", tags["ImageType"])
    if (component := tags.get("ComplexImageComponent", "")) in ("PHASE", "REAL", "IMAGINARY"):
        return Told(None, "a phase, real or imaginary image", "ComplexImageComponent", component)
    machine = _BY_MACHINE.get(said := tags.get("AcquisitionContrast", ""))
    if machine is None:
        return None
    known = machine in _NAMES
    return Told(machine if known else None, "" if known else machine, "AcquisitionContrast", said)


def _by_times(tags: Mapping[str, str]) -> Told | None:
    """What inversion time and echo time tell: a long inversion with a long echo is FLAIR, a short one STIR."""
    inversion, echo = _number(tags.get("InversionTime")), _number(tags.get("EchoTime"))
    if not inversion or echo is None:
        return None
    if _FLAIR_TI_MS[0] <= inversion <= _FLAIR_TI_MS[1] and echo >= _LONG_TE_MS:
        return Told("FLAIR", "", "InversionTime", tags["InversionTime"])
    if inversion < _STIR_TI_MS and "GR" not in tags.get("ScanningSequence", ""):
        return Told(None, "a STIR image", "InversionTime", tags["InversionTime"])
    if _STIR_TI_MS <= inversion <= _T1_TI_MS and echo <= _SHORT_TE_MS:
        return Told("T1", "", "InversionTime", tags["InversionTime"])
    return None


def _agreed(by_tags: Told | None, by_text: Told, tags: Mapping[str, str]) -> Told:
    """What tags and texts tell together; tags count more, and where they cannot both be right, none is told."""
    if by_tags is not None and by_tags.other == _AGENT and by_text.contrast == "T2":
        return by_text  # in which contrast agent hardly shows
    if by_tags is not None and by_tags.contrast is None:
        return by_tags
    if by_tags is not None:
        certain = by_tags.source == "InversionTime" and by_text.other.startswith("an inversion recovery image, FLAIR")
        if by_text.other and not certain and not by_text.other.startswith(("FLAIR or", "T1 or")):
            return by_text
        return by_tags
    return _doubted(by_text, tags) or by_text


def _doubted(by_text: Told, tags: Mapping[str, str]) -> Told | None:
    """What a name cannot be right in: the echo time, or the kind of sequence."""
    echo, wanted = _number(tags.get("EchoTime")), by_text.contrast
    if wanted is None or not echo:
        return None
    said = f"{by_text.value!r} is the {by_text.source}, but EchoTime"
    if wanted in ("T2", "FLAIR") and echo < _SHORT_TE_MS:
        gradient = "GR" in tags.get("ScanningSequence", "").split("\\")
        kind = "a T2* image" if gradient and echo > 10 else "a T1 or proton density image"
        return Told(None, kind, said, tags["EchoTime"])
    if wanted == "T2" and tags.get("ScanningSequence", "") == "GR":
        return Told(None, "a T2* image", "ScanningSequence", "GR")
    if wanted == "T1" and echo > _LONG_TE_MS:
        return Told(None, "a T2 image", said, tags["EchoTime"])
    return None


def _number(text: str | None) -> float | None:
    try:
        return float((text or "").split("\\")[0])
    except ValueError:
        return None
