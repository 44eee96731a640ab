"""Which contrast a scan has: as the user says, or as its DICOM tags or its file name say; never guessed from pixels."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from conddiffusion_uad.io.dicom_folder import PROTOCOL_NAME, SERIES_DESCRIPTION
from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.protocol.contrast_names import named_in
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS


def choose(asked: str, path: str, scan: sitk.Image) -> str:
    """The contrast of a scan.

    Args:
        asked: "auto" or a contrast, which is then believed.
        path: Where the scan was read from.
        scan: The scan, with its DICOM descriptions as metadata if it has any.

    Raises:
        BadInput: "contrast_unknown" when neither says it, or says two.
    """
    if asked != "auto":
        return asked
    told = (scan.GetMetaData(tag) for tag in (SERIES_DESCRIPTION, PROTOCOL_NAME) if scan.HasMetaDataKey(tag))
    for text in (*told, scan_name(path)):
        if contrast := named_in(text):
            return contrast
    raise BadInput(
        "contrast_unknown",
        f"Neither the scan nor its file name says which contrast {Path(path).name} has.",
        f"Say it with --contrast {'|'.join(CONTRASTS)}.",
    )
