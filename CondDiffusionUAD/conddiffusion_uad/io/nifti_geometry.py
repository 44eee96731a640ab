"""Which of a NIfTI header's three descriptions of its place counts, and what they contradict each other in.

As the standard and nibabel have it: the sform where its code says so, else the qform where its code does; without
either nothing is known but the size of the voxels. See nifti1.h, "3D image (volume) orientation and location in space".
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from conddiffusion_uad.io import geometry, units
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

KEY = "nifti geometry"
"""Of the metadata of an image: the fields of the header that say where its voxels lie, as JSON."""

_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)
_ALIKE = 0.01  # share by which two descriptions of a voxel's size may differ
_SAME_PLACE_MM = 0.5
_MOST_TURNED = 1.0  # trace of a rotation by 90 degrees
_UNITS = {1: "m", 3: "um"}  # codes of xyzt_units; others say mm, or nothing
_ASSUMED = (
    "the first axis is taken to run to the left, the second to the front and the third up, as nibabel and FSL do; if "
    "that is wrong, left and right, or front and back, are exchanged"
)


def affine(header: Any, size: tuple[int, ...], name: str, reading: Reading) -> np.ndarray:
    """The 4x4 matrix from voxel indices to RAS mm.

    Args:
        header: nibabel's, as it is stored.
        size: Voxels along x, y, z.
        reading: Is told contradictions, or accepts grave ones.

    Raises:
        BadInput: no_orientation, geometry_contradiction or bad_direction.
    """
    sform, qform = _sform(header), _qform(header, name)
    chosen = sform if sform is not None else qform
    if chosen is None:
        reading.doubt(
            "no_orientation",
            f"{name} does not say how it lies in the patient ({_missing(header)}), so left and right are not known.",
            "Convert it again from DICOM, or set its orientation.",
            _ASSUMED,
        )
        chosen = _with_sizes(header).get_base_affine()
    elif sform is not None:
        _compare(header, sform, qform, size, name, reading)
    else:
        _compare_unused(header, chosen, size, name, reading)
    return units.in_mm(chosen, _UNITS.get(_code(header, "xyzt_units") & 7, ""), name, reading)


def shear(header: Any, name: str) -> str:
    """What to say when the axes are not at right angles: only an sform's can be; empty for the usual sentence."""
    if _sform(header) is None:
        return ""
    other = "; its qform is another one" if _code(header, "qform_code") > 0 else ""
    return f"The axes of {name} are not at right angles: its sform (code {_code(header, 'sform_code')}) shears{other}."


def fields(header: Any) -> str:
    """The fields that say where the voxels lie, as JSON; nothing of an Analyze header, which has none."""
    if "sform_code" not in header.keys():  # noqa: SIM118 (no dict)
        return ""
    kept = {field: np.asarray(header[field]).tolist() for field in _FIELDS}
    return json.dumps({**kept, "pixdim": [float(header["pixdim"][n]) for n in range(4)]})


def restore(header: Any, kept: str) -> None:
    """Put the fields that were kept of one header into another."""
    values = json.loads(kept)
    pixdim = values.pop("pixdim")
    header["pixdim"][:4] = pixdim
    for field, value in values.items():
        header[field] = value


def _code(header: Any, field: str) -> int:
    return int(header[field]) if field in header.keys() else 0  # noqa: SIM118 (no dict)


def _missing(header: Any) -> str:
    return "qform_code and sform_code are 0" if "sform_code" in header.keys() else "Analyze files cannot"  # noqa: SIM118


def _sform(header: Any) -> np.ndarray | None:
    return header.get_sform() if _code(header, "sform_code") > 0 else None


def _with_sizes(header: Any) -> Any:
    """A header whose sizes of voxels have no signs, as nibabel mends it."""
    mended = header.copy()
    mended["pixdim"][1:4] = np.abs(mended["pixdim"][1:4])
    return mended


def _qform(header: Any, name: str) -> np.ndarray | None:
    """The matrix that quaternion, offsets and voxel sizes give; None when it has code 0, or the sform counts alone."""
    if _code(header, "qform_code") <= 0:
        return None
    mended = _with_sizes(header)
    if mended["pixdim"][0] not in (-1, 1):
        mended["pixdim"][0] = 1
    quaternion, offset = (
        [float(header[f"{field}_{letter}"]) for letter in letters]
        for field, letters in (("quatern", "bcd"), ("qoffset", "xyz"))
    )
    try:
        if np.isfinite([*quaternion, *offset]).all():
            return mended.get_qform()
    except Exception:  # nibabel's own kind: the quaternion is longer than 1
        pass
    if _code(header, "sform_code") > 0:
        return None
    told = [", ".join(f"{number:g}" for number in numbers) for numbers in (quaternion, offset)]
    message = (
        f"The qform of {name} (code {_code(header, 'qform_code')}) is no orientation: its quaternion (quatern_b, c, d) "
        f"is {told[0]} and its offset (qoffset_x, y, z) {told[1]}."
    )
    raise BadInput("bad_direction", message, "Convert it again from DICOM, or set its orientation.")


def _compare(
    header: Any, sform: np.ndarray, qform: np.ndarray | None, size: tuple[int, ...], name: str, reading: Reading
) -> None:
    """Look for contradictions between the sform, which counts, and the rest."""
    zooms, lengths = np.array(header["pixdim"][1:4], float), np.linalg.norm(sform[:3, :3], axis=0)
    known = np.isfinite(zooms) & (zooms > 0)
    if not np.isfinite(sform).all() or np.linalg.det(sform[:3, :3]) == 0:
        message = f"The sform of {name} (code {_code(header, 'sform_code')}) is no orientation."
        raise BadInput("bad_direction", message, "Convert it again from DICOM, or set its orientation.")
    if geometry.shear_of(sform) > geometry.MAX_SHEAR:
        return  # it will be refused for that
    if not known.all():
        message = f"The voxels of {name} measure {_by(zooms)} mm by pixdim and {_by(lengths)} mm by its sform."
        reading.warn("geometry_contradiction", message, "The sform counts.")
    elif (np.abs(zooms / np.maximum(lengths, 1e-9) - 1) > _ALIKE).any():
        reading.doubt(
            "geometry_contradiction",
            f"The header of {name} contradicts itself: its voxels measure {_by(zooms)} mm by pixdim and {_by(lengths)} "
            "mm by its sform, and programs differ in which they go by.",
            "Convert it again from DICOM, or correct the header.",
            "the sform counts, as in nibabel and SPM",
        )
    if qform is None or not np.isfinite(qform).all():
        return
    turned = np.linalg.solve(qform[:3, :3].T, sform[:3, :3].T).T  # from where the qform puts things to the sform
    if np.linalg.det(turned) < 0 or np.trace(turned) < _MOST_TURNED:
        mirrored = np.linalg.det(turned) < 0
        how = "exchange left and right" if mirrored else "are turned by more than 90 degrees, which exchanges sides"
        reading.doubt(
            "geometry_contradiction",
            f"The header of {name} contradicts itself: its sform and its qform {how}.",
            "Convert it again from DICOM, or correct the header.",
            "the sform counts, as in nibabel, FSL and SPM",
        )
    elif (apart := geometry.farthest(sform, qform, size)) > max(_SAME_PLACE_MM, 0.1 * lengths.min()):
        message = f"The header of {name} gives two places that lie up to {apart:.0f} mm apart: its sform and its qform."
        reading.warn("geometry_contradiction", message, "The sform counts, as in nibabel, FSL and SPM.")


def _compare_unused(header: Any, qform: np.ndarray, size: tuple[int, ...], name: str, reading: Reading) -> None:
    """Look for contradictions between the qform, which counts, and what is in the header besides."""
    zooms, qfac = np.array(header["pixdim"][1:4], float), float(header["pixdim"][0])
    if (zooms < 0).any():
        message = f"The voxel sizes in the header of {name} (pixdim) are {_by(zooms)} mm."
        reading.warn("geometry_contradiction", message, "They are taken without their signs, as in nibabel.")
    if qfac not in (-1.0, 0.0, 1.0):
        message = f"The header of {name} does not say whether its axes are right-handed (pixdim[0] is {qfac:g})."
        reading.warn("geometry_contradiction", message, "They are taken to be, as the standard has it.")
    unused = header.get_sform()
    if np.isfinite(unused).all() and abs(np.linalg.det(unused[:3, :3])) > 1e-9 and np.isfinite(qform).all():
        apart = geometry.farthest(unused, qform, size)
        if apart > max(_SAME_PLACE_MM, 0.1 * np.abs(zooms).min()):
            message = f"The header of {name} holds an sform up to {apart:.0f} mm apart from its qform, with code 0."
            reading.warn("geometry_contradiction", message, "The qform counts, as the standard has it.")


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:g}" for value in values)
