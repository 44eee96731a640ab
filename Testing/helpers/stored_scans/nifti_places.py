"""NIfTI and Analyze files: where the voxels lie."""

from __future__ import annotations

import made_up_scans as made
import nibabel
import numpy as np
from made_up_scans import RAS, SIZE, nifti

from stored_scans.nifti_files import header
from stored_scans.stored import ASKED, REFUSED, TOLD, Make, adder

add = adder("NIfTI and Analyze: the place")


def rotated(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (9, -14, 6)
    return turn


def lps(affine: np.ndarray) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


MOVED = rotated(12) @ RAS
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
LONGER = RAS @ np.diag([1.0, 1.0, 1.25, 1.0])
FLIPPED = RAS @ np.array([[-1.0, 0, 0, 19], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
SHEARED = RAS @ np.array([[1.0, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
CENTERED = np.diag([-2.5, 2.0, 4.0, 1.0])
CENTERED[:3, 3] = -np.diag(CENTERED)[:3] * (np.array(SIZE) - 1) / 2

add("only an sform", lambda d: nifti(d / "x.nii", qform=None))
add("only a qform", lambda d: nifti(d / "x.nii", sform=None))
add("codes of other spaces (sform 4, qform 2)", lambda d: nifti(d / "x.nii", codes=(4, 2)))
add("a left-handed grid", lambda d: nifti(d / "x.nii", sform=FLIPPED, qform=FLIPPED), affine=lps(FLIPPED))
add(
    "sform moved after a registration, qform of the scanner",
    lambda d: nifti(d / "x.nii", sform=MOVED, codes=(2, 1)),
    TOLD,
    "geometry_contradiction",
    "mm apart: its sform and its qform",
    affine=lps(MOVED),
)
add(
    "sform of code 0 that lies elsewhere",
    lambda d: nifti(d / "x.nii", sform=MOVED, codes=(0, 1)),
    TOLD,
    "geometry_contradiction",
    "with code 0",
)
add(
    "qform of code 0 that lies elsewhere (it does not count)",
    lambda d: nifti(d / "x.nii", qform=MOVED, codes=(1, 0)),
)
add(
    "pixdim and sform give other sizes",
    lambda d: nifti(d / "x.nii", sform=LONGER, qform=None),
    ASKED,
    "geometry_contradiction",
    "2.5 x 2 x 4 mm by pixdim and 2.5 x 2 x 5 mm by its sform",
    affine=lps(LONGER),
)
add(
    "sform and qform exchange left and right",
    lambda d: nifti(d / "x.nii", qform=FLIPPED),
    ASKED,
    "geometry_contradiction",
    "exchange left and right",
)
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0]) @ RAS
add(
    "sform and qform are turned by half a turn",
    lambda d: nifti(d / "x.nii", sform=HALF_TURN),
    ASKED,
    "geometry_contradiction",
    "turned by more than 90 degrees",
    affine=lps(HALF_TURN),
)
add(
    "NIfTI-2, sform moved after a registration",
    lambda d: nifti(d / "x.nii", kind=nibabel.Nifti2Header, sform=MOVED, codes=(2, 1)),
    TOLD,
    "geometry_contradiction",
    "mm apart",
    affine=lps(MOVED),
)
add("qform that is none beside an sform", lambda d: nifti(d / "x.nii", change=header(quatern_b=np.nan)))
add(
    "qform with an offset that is none",
    lambda d: nifti(d / "x.nii", sform=None, change=header(qoffset_x=np.nan)),
    REFUSED,
    "bad_direction",
    "qoffset_x",
)
add(
    "pixdim 0 beside an sform",
    lambda d: nifti(d / "x.nii", qform=None, change=header(pixdim_2=0)),
    TOLD,
    "geometry_contradiction",
    "2.5 x 0 x 4 mm by pixdim",
)
add(
    "negative pixdim",
    lambda d: nifti(d / "x.nii", sform=None, change=header(pixdim_2=-2)),
    TOLD,
    "geometry_contradiction",
    "-2",
)
add("qfac (pixdim[0]) 0", lambda d: nifti(d / "x.nii", sform=None, change=header(pixdim_0=0)))
add(
    "qfac (pixdim[0]) 5",
    lambda d: nifti(d / "x.nii", sform=None, change=header(pixdim_0=5)),
    TOLD,
    "geometry_contradiction",
    "pixdim[0] is 5",
)
add(
    "pixdim 0 beside a qform",
    lambda d: nifti(d / "x.nii", sform=None, change=header(pixdim_2=0)),
    REFUSED,
    "bad_spacing",
    "2.5 x 0 x 4 mm",
)
add(
    "a quaternion that is none",
    lambda d: nifti(d / "x.nii", sform=None, change=header(quatern_b=3)),
    REFUSED,
    "bad_direction",
    "quatern_b",
)
add(
    "axes that shear",
    lambda d: nifti(d / "x.nii", sform=SHEARED, codes=(2, 1)),
    REFUSED,
    "bad_direction",
    "its qform is another one",
)
add(
    "an sform of zeros",
    lambda d: nifti(d / "x.nii", sform=np.diag([0.0, 0, 0, 1])),
    REFUSED,
    "bad_direction",
    "no orientation",
)
add(
    "no orientation (both codes 0)",
    lambda d: nifti(d / "x.nii", sform=None, qform=None),
    ASKED,
    "no_orientation",
    "qform_code and sform_code are 0",
    affine=lps(CENTERED),
)
add(
    "no orientation, negative pixdim",
    lambda d: nifti(d / "x.nii", sform=None, qform=None, change=header(pixdim_1=-2.5)),
    ASKED,
    "no_orientation",
    "qform_code and sform_code are 0",
    affine=lps(CENTERED),
)
add("Analyze 7.5", made.analyze, ASKED, "no_orientation", "taken to run to the left", affine=lps(CENTERED))
add("Analyze 7.5, little-endian", lambda d: made.analyze(d, "<"), ASKED, "no_orientation", affine=lps(CENTERED))


def in_unit(code: int, factor: float) -> Make:
    scale = np.diag([factor, factor, factor, 1.0])
    return lambda d: nifti(d / "x.nii", sform=scale @ RAS, qform=scale @ RAS, change=header(xyzt_units=code))


add("in meters", in_unit(1, 0.001), TOLD, "geometry_contradiction", "meters")
add("in micrometers", in_unit(3, 1000.0), TOLD, "geometry_contradiction", "micrometers")
add("said to be in meters, but in mm", in_unit(1, 1.0), TOLD, "geometry_contradiction", "taken as mm")
add("no unit", in_unit(0, 1.0))
