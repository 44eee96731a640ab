"""The contrast is told by tags or file names, or asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.contrast import choose
from conddiffusion_uad.protocol.contrast_names import contrast_of, named_in, told_by
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
        ("AX T1 SE +C", None),
        ("T1 post", None),
        ("t1_mprage_sag_km", None),
        ("T1 mit KM", None),
        ("T1 ohne KM", "T1"),
        ("T1 nativ", "T1"),
        ("t1_pre_contrast", "T1"),
        ("T1 GADO", None),
        ("T1+C", None),
        ("t1c", None),
        ("sub-1_ce-gadolinium_T1w", None),
        ("t1_mp2rage_sag_UNI", None),
        ("AX PD T2", None),
        ("pd_tse", None),
        ("t2_tirm_tra", None),
        ("STIR T2", None),
        ("T2 GRE", None),
        ("t2_fl2d_tra_hemo", None),
        ("SWI T2", None),
        ("TOF T1", None),
        ("ep2d_diff_b1000 T2", None),
        ("T2 map", None),
        ("T1 FLAIR", None),
        ("CT head T1", None),
        ("3D T2 SPACE DARK FLUID", "FLAIR"),
        ("T2 BLADE", "T2"),
        ("T1 MPRAGE isotropic", "T1"),
        ("B1234_r1_t1", "T1"),
        ("DWI b1000", None),
        ("T1 injecté", None),
        ("Sag T1 SPGR", "T1"),
        ("sub-01_ce-none_T1w", "T1"),
        ("BraTS-GLI-00001-000-t1n", "T1"),
        ("BraTS-GLI-00001-000-t1c", None),
        ("BraTS-GLI-00001-000-t2w", "T2"),
        ("BraTS-GLI-00001-000-t2f", "FLAIR"),
        ("sT1W_3D_TFE", "T1"),
        ("eT2W_TSE", "T2"),
        ("sT1W_3D_TFE GADO", None),
        ("non-enhanced T1", "T1"),
        ("unenhanced T1", "T1"),
        ("T1 senza mdc", "T1"),
        ("T1 mdc", None),
        ("T1 IV+", None),
        ("T1 Clariscan", None),
        ("T1造影", None),
        ("T1 平扫", "T1"),
        ("T1 контраст", None),
        ("T1 без контраста", "T1"),
        ("T1 dynamic", None),
        ("T1_rho", None),
        ("T2 mapping", None),
        ("quantitative T1", None),
        ("T1 mt on", None),
        ("SUB T1", None),
        ("sub-01_acq-tse_T2w", "T2"),
        ("T1_mask", None),
        ("T1_seg", None),
        ("DESS T2", None),
    ],
)
def test_names(text: str, contrast: str | None) -> None:
    assert named_in(text) == contrast


def test_what_the_user_says_counts() -> None:
    assert choose("FLAIR", "t1.nii", sitk.Image(2, 2, 2, sitk.sitkFloat32)) == "FLAIR"


def test_tags_count_more_than_the_name() -> None:
    scan = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    scan.SetMetaData("SeriesDescription", "Head")
    scan.SetMetaData("ProtocolName", "AX T2 FLAIR")
    assert choose("auto", "study/T1", scan) == "FLAIR"
    assert choose("auto", "study/T1", sitk.Image(2, 2, 2, sitk.sitkFloat32)) == "T1"


def test_what_nobody_says_is_asked() -> None:
    with pytest.raises(BadInput) as caught:
        choose("auto", "study/brain.nii.gz", sitk.Image(2, 2, 2, sitk.sitkFloat32))
    assert caught.value.code == "contrast_unknown" and "--contrast" in caught.value.hint


MR = {"Modality": "MR", "ScanningSequence": "SE"}


@pytest.mark.parametrize(
    ("tags", "name", "contrast", "other"),
    [
        ({"ContrastBolusAgent": "Gadobutrol", "SeriesDescription": "AX T1"}, "", None, "contrast agent"),
        ({"ContrastBolusAgent": "NONE", "SeriesDescription": "AX T1"}, "", "T1", ""),
        ({"ContrastBolusVolume": "7.5"}, "t1.nii", None, "contrast agent"),
        ({"ContrastBolusVolume": "0"}, "t1.nii", "T1", ""),
        ({"ContrastBolusAgent": "Dotarem", "SeriesDescription": "AX T2 TSE"}, "", "T2", ""),
        ({"ContrastBolusAgent": "Dotarem", "SeriesDescription": "AX T2 FLAIR"}, "", None, "contrast agent"),
        ({"InversionTime": "2500", "EchoTime": "120", "SeriesDescription": "t2_tirm_tra"}, "", "FLAIR", ""),
        ({"InversionTime": "180", "EchoTime": "60", "SeriesDescription": "T2 TIRM"}, "", None, "STIR"),
        ({"InversionTime": "1650", "EchoTime": "330"}, "brain", "FLAIR", ""),
        ({"InversionTime": "900", "EchoTime": "2.9", "ScanningSequence": "GR"}, "brain", "T1", ""),
        ({"InversionTime": "860", "EchoTime": "9", "SeriesDescription": "AX T1 FLAIR"}, "", "T1", ""),
        ({"EchoTime": "12", "SeriesDescription": "AX T2"}, "", None, "proton density"),
        ({"EchoTime": "20", "ScanningSequence": "GR", "SeriesDescription": "AX T2"}, "", None, "T2*"),
        ({"EchoTime": "100", "SeriesDescription": "AX T1"}, "", None, "T2"),
        ({"EchoTime": "100", "SeriesDescription": "AX T2"}, "", "T2", ""),
        ({"DiffusionBValue": "1000", "SeriesDescription": "T2"}, "", None, "diffusion"),
        ({"ImageType": "DERIVED\\PRIMARY\\DIFFUSION\\ADC"}, "t2", None, "diffusion"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\P\\ND", "SeriesDescription": "T1"}, "", None, "phase"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\M\\ND", "SeriesDescription": "T1"}, "", "T1", ""),
        ({"AcquisitionContrast": "FLUID_ATTENUATED"}, "brain", "FLAIR", ""),
        ({"AcquisitionContrast": "PROTON_DENSITY", "SeriesDescription": "T2"}, "", None, "proton density"),
        ({"AcquisitionContrast": "T1", "SeriesDescription": "AX T1 +C"}, "", None, "contrast agent"),
        ({"Modality": "CT"}, "t1", None, "no magnetic resonance"),
        ({"EchoTime": "rubbish", "InversionTime": ""}, "t1", "T1", ""),
    ],
)
def test_tags_tell_more_than_names(tags: dict[str, str], name: str, contrast: str | None, other: str) -> None:
    told = contrast_of({**MR, **tags}, name)
    assert told.contrast == contrast
    assert other in told.other if other else not told.other
    assert bool(told.reason()) == (contrast is None)


def test_the_question_names_what_the_scan_seems_to_be_and_where_that_is_said() -> None:
    scan = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    scan.SetMetaData("ContrastBolusAgent", "Gadobutrol")
    with pytest.raises(BadInput) as caught:
        choose("auto", "study/t1", scan)
    assert "after contrast agent: ContrastBolusAgent is 'Gadobutrol'" in caught.value.message
    assert told_by("T1 post").reason() == "The scan seems to be an image after contrast agent: its name is 'T1 post'."


def test_what_speaks_against_the_contrast_that_was_asked_for_is_told() -> None:
    scan = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    told: list[tuple[str, ...]] = []
    assert choose("T1", "study/t1ce.nii", scan, lambda *words: told.append(words)) == "T1"
    assert told[0][0] == "contrast_doubtful" and "contrast agent" in told[0][1]
    told.clear()
    assert choose("T1", "study/t1.nii", scan, lambda *words: told.append(words)) == "T1" and not told
    assert choose("T1", "study/t2.nii", scan, lambda *words: told.append(words)) == "T1" and "T2" in told[0][1]


@pytest.mark.parametrize(
    ("beside", "contrast"),
    [
        ('{"EchoTime": 0.12, "InversionTime": 2.5, "SeriesDescription": "t2_tirm"}', "FLAIR"),
        ('{"ContrastBolusIngredient": "GADOLINIUM", "SeriesDescription": "T1"}', None),
        ('{"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}', None),
        ('{"EchoTime": 0.003, "InversionTime": 0.9}', "T1"),
        ("[1, 2]", "T1"),
        ("no JSON", "T1"),
    ],
)
def test_a_json_file_beside_the_scan_counts_like_tags(beside: str, contrast: str | None, tmp_path: Path) -> None:
    (tmp_path / "brain_t1.json").write_text(beside, encoding="utf-8")
    scan = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    if contrast is None:
        with pytest.raises(BadInput):
            choose("auto", str(tmp_path / "brain_t1.nii.gz"), scan)
    else:
        assert choose("auto", str(tmp_path / "brain_t1.nii.gz"), scan) == contrast
