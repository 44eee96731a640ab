"""Which contrast a scan has: as the user says, or as its tags or its name say; never guessed from pixels."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from conddiffusion_uad.io.reading import Warn, silent
from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.io.sidecar import tags_beside
from conddiffusion_uad.protocol.contrast_names import NO_MRI, TAGS, contrast_of
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS


def choose(asked: str, path: str, scan: sitk.Image, warn: Warn = silent) -> str:
    """The contrast of a scan.

    Args:
        asked: "auto" or a contrast, which is then believed; what tells otherwise is a warning.
        scan: The scan, with what its header tells of its contrast as metadata.
        warn: Is told of what speaks against the contrast that was asked for.

    Raises:
        BadInput: "contrast_unknown" when neither says it, when two are said, or when it is none of the three.
    """
    tags = {keyword: scan.GetMetaData(keyword) for keyword in TAGS if scan.HasMetaDataKey(keyword)}
    tags = tags or tags_beside(path)
    told = contrast_of(tags, scan_name(path))
    if asked == "auto" and told.contrast:
        agent = tags.get("ContrastBolusAgent")
        if agent:
            warn("contrast_agent", f"A contrast agent was given ({agent}).", "In T2 it hardly shows.")
        return told.contrast
    listed = "|".join(CONTRASTS)
    if asked == "auto":
        other = told.other == NO_MRI
        hint = "Choose an MRI scan. If this is one" if other else "If it can be taken for one of these"
        hint += f", say so with --contrast {listed}."
        reason = f"{Path(path).name}: {told.reason()}"
        raise BadInput("contrast_unknown", reason, hint if told.other else f"Say it with --contrast {listed}.")
    if told.other or told.contrast not in (None, asked):
        kind = told.other or f"a {told.contrast} scan"
        message = f"The scan is examined as {asked} but seems to be {kind}: {told.source} is {told.value!r}."
        warn("contrast_doubtful", message, "The model has learned healthy scans without contrast agent only.")
    return asked
