"""NIfTI and Analyze files: containers and voxels."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from made_up_scans import SIZE, VOXELS, nifti, nrrd, pair, series

from stored_scans.stored import ASKED, REFUSED, TOLD, Make, adder, cut, touched, without, written


def header(**fields: Any) -> Callable[[Any], None]:
    """Changes fields of a NIfTI header; "pixdim_0" stands for the first entry of pixdim."""

    def change(stored: Any) -> None:
        for name, value in fields.items():
            base, _, index = name.rpartition("_")
            if index.isdigit() and base in ("pixdim", "dim"):
                stored[base][int(index)] = value
            else:
                stored[name] = value

    return change


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


add = adder("NIfTI and Analyze: the file")
add("NIfTI-1, plain and packed", lambda d: nifti(d / "scan.nii.gz"))
add("NIfTI-2", lambda d: nifti(d / "scan.nii.gz", kind=nibabel.Nifti2Header))
add("big-endian", lambda d: nifti(d / "scan.nii", order=">"))
add("in two files", pair)
add("in two files, named in capitals", lambda d: pair(d, ("SCAN.HDR", "SCAN.IMG")))
add("suffix in capitals", lambda d: nifti(d / "SCAN.NII.GZ"))
add("packed, named .nii", lambda d: nifti(d / "scan.nii", pack=gzip.compress))
add("plain, named .nii.gz", lambda d: nifti(d / "scan.nii.gz", pack=bytes))
add("packed with bzip2", lambda d: nifti(d / "scan.nii.bz2", pack=bz2.compress))
add("with bytes behind the packed part", lambda d: nifti(d / "scan.nii.gz", pack=lambda b: gzip.compress(b) + b"more"))
add("with zeros behind the voxels", lambda d: nifti(d / "scan.nii", pack=lambda b: b + bytes(1000)))


PACKED = (
    ("packed with xz", lzma.compress, "an xz file"),
    ("in a zip archive", lambda data: b"PK\3\4" + data, "a zip archive"),
    ("packed twice", twice, "gzip-packed and, unpacked, a gzip file"),
)
for way, pack, what in PACKED:
    add(way, lambda d, p=pack: nifti(d / "scan.nii.gz", pack=p), REFUSED, "not_an_image", f"is {what}, which is not")
OTHER_FILES = (
    ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
    ("a pointer of git-annex", b"/annex/objects/MD5E-s9--00.nii.gz\n", "datalad get"),
    ("a web page", b"\xef\xbb\xbf\n<!DOCTYPE HTML><html><title>Sign in</title></html>", "download the scan again"),
    ("a web page without its type", b"<html><body>404</body></html>", "download the scan again"),
    ("the answer of a server, in XML", b"<?xml version='1.0'?><Error>AccessDenied</Error>", "download it again"),
    ("a PDF document", b"%PDF-1.4\n", "Choose the scan itself"),
    ("a NumPy array", b"\x93NUMPY\1\0" + bytes(120), "save it as NIfTI"),
    ("a MATLAB file", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), "Save it as NIfTI"),
    ("an MRtrix file", b"mrtrix image\ndim: 2,2,2\n", "mrconvert"),
    ("the header of a Philips PAR/REC scan", b"# === DATA DESCRIPTION FILE ===\n", "dcm2niix"),
    ("a tar archive, packed", gzip.compress(b"a.dcm".ljust(257, b"\0") + b"ustar" + bytes(999)), "Unpack it first"),
)
for way, content, cure in OTHER_FILES:
    add(way, lambda d, c=content: written(d / "scan.nii.gz", c), REFUSED, "not_an_image", cure)
add(
    "a FreeSurfer file",
    lambda d: written(d / "scan.mgz", gzip.compress(b"\0\0\0\1\0\0\0\x14" + bytes(999))),
    REFUSED,
    "not_an_image",
    "mri_convert",
)
add(
    "neither NIfTI nor Analyze by its mark (magic)",
    lambda d: nifti(d / "scan.nii", change=header(magic=b"n+3")),
    REFUSED,
    "truncated",
    "n+3",
)
add(
    "in two files, the header empty",
    lambda d: written(pair(d).with_suffix(".hdr"), b"").with_suffix(".img"),
    REFUSED,
    "not_an_image",
    "scan.hdr has the name",
)
add(
    "in two files, the voxels cut off",
    lambda d: cut(pair(d)).with_suffix(".hdr"),
    REFUSED,
    "truncated",
    "scan.img is cut off",
)
add("cut off", lambda d: cut(nifti(d / "scan.nii.gz")), REFUSED, "truncated", "scan.nii.gz is cut off or damaged")
add("empty", lambda d: touched(d / "scan.nii"), REFUSED, "truncated", "scan.nii is empty")
add("one of two files is missing", lambda d: without(pair(d), "scan.hdr"), REFUSED, "file_not_found", "scan.hdr")
add(
    "a DICOM file by that name",
    lambda d: shutil.copy(series(d / "s") / "IM0001.dcm", d / "scan.nii"),
    REFUSED,
    "not_3d",
    "single image",
)
add(
    "a NRRD file by that name",
    lambda d: nrrd(d / "scan.nrrd").rename(d / "scan.nii"),
)
add("text by that name", lambda d: written(d / "scan.nii", b"x" * 999), REFUSED, "not_an_image", "name of a NIfTI")


def broken_link(folder: Path) -> Path:
    (folder / "scan.nii").symlink_to(folder / "gone.nii")
    return folder / "scan.nii"


add("a link that leads nowhere", broken_link, REFUSED, "file_not_found", "leads nowhere")


add = adder("NIfTI and Analyze: the voxels")
for dtype in ("uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"):
    stored = (VOXELS // 5).astype(dtype) if dtype.endswith("t8") else VOXELS.astype(dtype)
    stored = stored // 2 if dtype == "int8" else stored
    add(dtype, lambda d, s=stored: nifti(d / "scan.nii.gz", s), values=stored)


def changed(**fields: Any) -> Make:
    return lambda d: nifti(d / "scan.nii.gz", change=header(**fields))


add("scaled", changed(scl_slope=0.5, scl_inter=-10), values=VOXELS * 0.5 - 10)
add("slope 0", changed(scl_slope=0, scl_inter=7))
add("slope NaN", changed(scl_slope=np.nan, scl_inter=np.nan))
add("intercept NaN", changed(scl_slope=1, scl_inter=np.nan), REFUSED, "truncated", "scl_inter")
add("a time axis of 0", changed(dim_0=4, dim_4=0))
add("one volume in time", lambda d: nifti(d / "scan.nii", VOXELS[..., None]))
add(
    "vectors of one component",
    lambda d: nifti(d / "scan.nii", VOXELS[..., None, None], change=header(intent_code=1007)),
)
add(
    "two volumes in time", lambda d: nifti(d / "x.nii", np.stack([VOXELS] * 2, 3)), REFUSED, "not_3d", "holds 2 volumes"
)
add(
    "vectors of three components",
    lambda d: nifti(d / "x.nii", np.stack([VOXELS] * 3, 3)[:, :, :, None]),
    REFUSED,
    "is_rgb",
    "3 values",
)
RGB = np.zeros(SIZE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
add("colors", lambda d: nifti(d / "x.nii", RGB), REFUSED, "is_rgb", "3 values in every voxel")
add("complex numbers", lambda d: nifti(d / "x.nii", VOXELS.astype("c8")), REFUSED, "is_rgb", "2 values in every voxel")
add("an unknown type of voxel", changed(datatype=1), REFUSED, "not_an_image", "datatype 1")
add("said to be labels (intent)", changed(intent_code=1002), ASKED, "not_a_scan", "intent_code 1002")
add("said to be a statistic (intent)", changed(intent_code=5), ASKED, "not_a_scan", "intent_code 5")
for offset in (0, 100, 348):
    add(
        f"voxels said to begin in the header (vox_offset {offset})",
        changed(vox_offset=offset),
        REFUSED,
        "truncated",
        "vox_offset",
    )
add(
    "voxels said to begin within a byte (vox_offset 352.7)",
    changed(vox_offset=352.7),
    REFUSED,
    "truncated",
    "begin at byte 352.7",
)
add(
    "far from 0 for how little the values differ",
    changed(scl_slope=1, scl_inter=1e9),
    TOLD,
    "intensities_moved",
    "go from 1000000000 to",
)
add("a negative slope", changed(scl_slope=-1, scl_inter=1000), values=1000 - VOXELS)

OUTSIDE = VOXELS.astype(np.float32)
OUTSIDE[VOXELS == 0] = np.nan


def filled(values: np.ndarray) -> np.ndarray:
    """Values with the least one for those that are none, or one a little below the 0.1th percentile."""
    odd, low, high = np.nanpercentile(values, [0.1, 1, 99])
    return np.where(np.isnan(values), max(np.nanmin(values), odd - (high - low) / 50), values).astype(np.float32)


DARK = filled(OUTSIDE)
add("NaN outside of the head", lambda d: nifti(d / "scan.nii", OUTSIDE), values=DARK)


LARGEST = np.where(np.isnan(OUTSIDE), -np.finfo(np.float32).max, OUTSIDE).astype(np.float32)
add("the least of all floats outside of the head", lambda d: nifti(d / "scan.nii", LARGEST), values=DARK)
LARGEST_DOUBLE = np.where(np.isnan(OUTSIDE), np.finfo(np.float64).max, OUTSIDE.astype(np.float64))
add("the largest of all 64-bit floats outside of it", lambda d: nifti(d / "scan.nii", LARGEST_DOUBLE), values=DARK)


def holed(folder: Path) -> Path:
    values = VOXELS.astype(np.float32)
    values[9:11, 10:12, 7] = np.nan
    return nifti(folder / "scan.nii", values)


add("NaN inside of the head", holed, REFUSED, "not_finite", "4 voxels inside")
FEW = OUTSIDE.copy()
FEW[9:11, 10:12, 7] = np.nan
add(
    "NaN outside, and in a few voxels inside", lambda d: nifti(d / "x.nii", FEW), TOLD, "not_finite", values=filled(FEW)
)
LABELS = np.add.outer(np.add.outer(np.arange(20) // 5 * 16, np.arange(24) // 6 * 4), np.arange(16) // 4).astype(
    np.int16
)
add("a label map", lambda d: nifti(d / "x.nii", LABELS), ASKED, "label_map", "in patches", values=LABELS)
add(
    "a label map of fractions",
    lambda d: nifti(d / "x.nii", LABELS / np.float32(3)),
    ASKED,
    "label_map",
    values=LABELS / 3,
)
LEVELS = (VOXELS // 32).astype(np.int16)
add("a scan of 31 gray levels", lambda d: nifti(d / "x.nii", LEVELS), values=LEVELS)
CUT_OFF = np.minimum(VOXELS // 3, 85).astype(np.uint8)
add("a scan that is cut off at its brightest", lambda d: nifti(d / "x.nii", CUT_OFF), values=CUT_OFF)
