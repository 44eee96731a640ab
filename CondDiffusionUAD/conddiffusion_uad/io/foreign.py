"""What a file is that has the name of a scan, or none, and cannot be read."""

from __future__ import annotations

from pathlib import Path

from conddiffusion_uad.io.packing import PackingError, whole_file
from conddiffusion_uad.protocol.failures import BadInput

_UNPACK = "Unpack it first."
_CONVERT = "Convert it to NIfTI first"
_LOOK = 512  # bytes
_KINDS = {  # first bytes: what they tell, and what to do
    b"\x1f\x8b": ("a gzip file", _UNPACK),
    b"BZh": ("a bzip2 file", _UNPACK),
    b"\xfd7zXZ": ("an xz file", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("a zstd file", _UNPACK),
    b"NRRD": ("a NRRD file", _UNPACK),
    b"ObjectTy": ("a MetaImage file", _UNPACK),
    b"PK": ("a zip archive", _UNPACK),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    b"Rar!": ("a RAR archive", _UNPACK),
    b"\0\0\0\1\0\0": ("a FreeSurfer file", f"{_CONVERT}, with mri_convert."),
    b"\x89HDF": ("an HDF5 file", f"{_CONVERT}, if it holds a scan."),
    b"CDF": ("a MINC file", f"{_CONVERT}, with mnc2nii."),
    b"\x89PNG": ("a picture", "Choose the scan itself."),
    b"\xff\xd8\xff": ("a picture", "Choose the scan itself."),
    b"II*\0": ("a picture", "Choose the scan itself."),
    b"MM\0*": ("a picture", "Choose the scan itself."),
    b"%PDF": ("a PDF document", "Choose the scan itself."),
    b"\x93NUMPY": ("a NumPy array", "It does not say how it lies in the patient: save it as NIfTI with its affine."),
    b"MATLAB": ("a MATLAB file", "Save it as NIfTI with its place and voxel sizes."),
    b"mrtrix image": ("an MRtrix file", f"{_CONVERT}, with mrconvert."),
    b"# === DATA DESC": ("the header of a Philips PAR/REC scan", f"{_CONVERT}, with dcm2niix."),
    b"version https://git-lfs": ("a pointer of Git LFS", "The scan itself was not fetched: run git lfs pull."),
    b"/annex/objects/": ("a pointer of git-annex", "The scan itself was not fetched: run datalad get."),
    b"<!doctype html": ("a web page", "The download failed, perhaps for want of a login: download the scan again."),
    b"<html": ("a web page", "The download failed, perhaps for want of a login: download the scan again."),
    b"<?xml": ("an XML file, such as a surface", "Choose the scan itself, or download it again."),
}
_TAR = 257, b"ustar"


def failure(path: Path, otherwise: str, hint: str) -> BadInput:
    """The failure for a file that is none of the formats that are read.

    Args:
        otherwise: What to say when it is not known, either.
        hint: What to do then.
    """
    try:
        stored = whole_file(path)
        begin = stored.begins(_LOOK)
    except (OSError, PackingError):
        return BadInput("not_an_image", otherwise, hint)
    packed = f"{stored.packing}-packed and, unpacked, " if stored.packing else ""
    if begin[_TAR[0] :].startswith(_TAR[1]):
        return BadInput("not_an_image", f"{path.name} is a tar archive, which is not read as a scan.", _UNPACK)
    text = begin.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for magic, (kind, cure) in _KINDS.items():
        if begin.startswith(magic) or (magic.startswith(b"<") and text.startswith(magic)):
            return BadInput("not_an_image", f"{path.name} is {packed}{kind}, which is not read as a scan.", cure)
    return BadInput("not_an_image", otherwise, hint)
