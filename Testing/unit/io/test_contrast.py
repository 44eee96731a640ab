"""The contrast is told by tags or file names, or asked for."""

from __future__ import annotations

import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.contrast import choose, named_in
from conddiffusion_uad.io.dicom_folder import PROTOCOL_NAME, SERIES_DESCRIPTION
from conddiffusion_uad.protocol.failures import BadInput


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("1005_t1", "T1"),
        ("sub-01_T1w", "T1"),
        ("IXI012-HH-1211-T1", "T1"),
        ("MPRAGE", "T1"),
        ("t2", "T2"),
        ("AX T2 TSE", "T2"),
        ("flair", "FLAIR"),
        ("sub-01_T2w_FLAIR", "FLAIR"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("t1_to_t2", None),
        ("t1ce", None),
        ("ep2d_T2star", None),
        ("T2*", None),
        ("st1ck", None),
        ("brain", None),
    ],
)
def test_names(text: str, contrast: str | None) -> None:
    assert named_in(text) == contrast


def test_what_the_user_says_counts() -> None:
    assert choose("FLAIR", "t1.nii", sitk.Image(2, 2, 2, sitk.sitkFloat32)) == "FLAIR"


def test_tags_count_more_than_the_name() -> None:
    scan = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    scan.SetMetaData(SERIES_DESCRIPTION, "Head")
    scan.SetMetaData(PROTOCOL_NAME, "AX T2 FLAIR")
    assert choose("auto", "study/T1", scan) == "FLAIR"
    assert choose("auto", "study/T1", sitk.Image(2, 2, 2, sitk.sitkFloat32)) == "T1"


def test_what_nobody_says_is_asked() -> None:
    with pytest.raises(BadInput) as caught:
        choose("auto", "study/brain.nii.gz", sitk.Image(2, 2, 2, sitk.sitkFloat32))
    assert caught.value.code == "contrast_unknown" and "--contrast" in caught.value.hint
