"""NRRD and MetaImage files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import made_up_scans as made
import numpy as np
from made_up_scans import LPS, VOXELS, metaimage, nifti, nrrd

from stored_scans.stored import ASKED, REFUSED, TOLD, Make, adder, cut, without, written

add = adder("NRRD and MetaImage")
add("NRRD, packed", lambda d: nrrd(d / "scan.nrrd"))
add("NRRD, suffix in capitals", lambda d: nrrd(d / "SCAN.NRRD"))
for name in ("raw", "bzip2", "ascii", "hex"):
    add(f"NRRD, encoding {name}", lambda d, n=name: nrrd(d / "scan.nrrd", n))
add("NRRD, voxels beside it", lambda d: nrrd(d / "scan.nhdr", data_file="scan.raw.gz"))
add(
    "NRRD, voxels beside it are gone",
    lambda d: without(nrrd(d / "scan.nhdr", data_file="scan.raw"), "scan.raw"),
    REFUSED,
    "file_not_found",
    "scan.raw",
)
add("NRRD, a list axis of length 1", lambda d: nrrd(d / "scan.nrrd", values=VOXELS[None]))
add(
    "NRRD, three components",
    lambda d: nrrd(d / "x.nrrd", values=np.stack([VOXELS] * 3), kinds="RGB-color domain domain domain"),
    REFUSED,
    "is_rgb",
    "3 values",
)
add(
    "NRRD, five volumes in a list",
    lambda d: nrrd(d / "x.nrrd", values=np.stack([VOXELS] * 5)),
    REFUSED,
    "not_3d",
    "5 volumes",
)
add("NRRD, 64-bit whole numbers", lambda d: nrrd(d / "scan.nrrd", values=VOXELS.astype(np.int64)))


UNPLACED = LPS.copy()
UNPLACED[:3, 3] = 0
ZIPPED, WRITTEN = zlib.compress(VOXELS.tobytes(order="F")), " ".join(map(str, VOXELS.ravel(order="F"))).encode()
BIG, SIZES = VOXELS.astype(">i2").tobytes(order="F"), {"ElementSize": "2.5 2 4"}


def sliced(folder: Path, file: str, cut_off: int | None = None) -> Path:
    made.in_slices(folder, cut_off)
    names = "".join(f"s{k:02d}.raw\n" for k in range(VOXELS.shape[2])) if file == "LIST" else ""
    return metaimage(folder / "x.mhd", names.encode(), ElementDataFile=file)


def in_unit(name: str) -> Make:
    return lambda d: nrrd(d / "x.nrrd", space_units=" ".join([f'"{name}"'] * 3))


def nrrd_in(space: str, signs: tuple[int, int, int], **changed_fields: str | None) -> Make:
    flip = np.diag([*signs, 1])
    spatial = " ".join("(" + ",".join(map(repr, column.tolist())) + ")" for column in (flip @ LPS)[:3, :3].T)
    begin = "(" + ",".join(map(repr, (flip @ LPS)[:3, 3].tolist())) + ")"
    fields = {"space": space, "space_directions": spatial, "space_origin": begin, **changed_fields}
    return lambda d: nrrd(d / "scan.nrrd", **fields)


add("NRRD in RAS", nrrd_in("right-anterior-superior", (-1, -1, 1)))
add("NRRD in LAS", nrrd_in("left-anterior-superior", (1, -1, 1)))
add("NRRD in RAS, in short", nrrd_in("RAS", (-1, -1, 1)))
add(
    "NRRD in centimeters",
    lambda d: nrrd(
        d / "x.nrrd",
        space_directions="(0.2,0,0) (0,0.2,0) (0,0,0.4)",
        space_units='"cm" "cm" "cm"',
        space_origin="(0,0,0)",
    ),
    TOLD,
    "geometry_contradiction",
    "lengths are centimeters",
    affine=np.diag([2.0, 2.0, 4.0, 1.0]),
)
NO_PLACE = np.diag([2.5, 2.0, 4.0, 1.0])
add(
    "NRRD with sizes of voxels only",
    lambda d: nrrd(d / "x.nrrd", space=None, space_directions=None, space_origin=None, spacings="2.5 2 4"),
    ASKED,
    "no_orientation",
    "no field space directions",
    affine=NO_PLACE,
)
add(
    "NRRD in a space that is not the patient's",
    lambda d: nrrd(d / "x.nrrd", space="3D-right-handed"),
    ASKED,
    "no_orientation",
    "3d-right-handed",
)
add(
    "NRRD, an encoding that nobody knows",
    lambda d: nrrd(d / "x.nrrd", "zstd"),
    REFUSED,
    "not_an_image",
    "encoding 'zstd'",
)
add("NRRD, cut off", lambda d: cut(nrrd(d / "scan.nrrd")), REFUSED, "truncated", "cut off or damaged")
for space in ("LPS-time", "left-posterior-superior-time"):
    add(
        f"NRRD, with a time axis ({space})",
        lambda d, s=space: nrrd(
            d / "x.nrrd",
            space=s,
            dimension="4",
            sizes="20 24 16 1",
            space_directions="(2,1.5,0,0) (-1.2,1.6,0,0) (0,0,4,0) (0,0,0,1)",
            space_origin="(-30,12.5,7,0)",
            kinds="domain domain domain time",
        ),
    )
add("NRRD, fields behind the name of the other file", lambda d: behind(d, "byte_skip", "40"))
add("NRRD, voxels at the end of the other file", lambda d: behind(d, "byte_skip", "-1"))


def behind(folder: Path, field: str, value: str) -> Path:
    path = nrrd(folder / "x.nhdr", "raw", data_file="voxels.raw", **{field: value})
    (folder / "voxels.raw").write_bytes(bytes(40) + (folder / "voxels.raw").read_bytes())
    return path


add(
    "NRRD, a byte skip of -5",
    lambda d: nrrd(d / "x.nhdr", "raw", data_file="voxels.raw", byte_skip="-5"),
    REFUSED,
    "truncated",
    "byteskip is '-5'",
)
for size in ("20.7 24 16", "2e1 24 16", "-20 24 16", "nan 24 16"):
    add(
        f"NRRD, sizes of {size}",
        lambda d, s=size: nrrd(d / "x.nrrd", sizes=s),
        REFUSED,
        "truncated",
        f"sizes is '{size}'",
    )
add(
    "NRRD, a dimension that is not that of its sizes",
    lambda d: nrrd(d / "x.nrrd", dimension="3.5"),
    REFUSED,
    "truncated",
    "dimension is '3.5'",
)
add("NRRD, byte order missing", lambda d: nrrd(d / "x.nrrd", endian=None), REFUSED, "truncated", "endian is 'missing'")
add(
    "NRRD, space origin missing",
    lambda d: nrrd(d / "x.nrrd", space_origin=None),
    TOLD,
    "no_origin",
    "no field space origin",
    affine=UNPLACED,
)
add(
    "NRRD, space origin NaN",
    lambda d: nrrd(d / "x.nrrd", space_origin="(nan,0,0)"),
    REFUSED,
    "truncated",
    "spaceorigin is '(nan,0,0)'",
)
add("NRRD, said to be in microns", in_unit("microns"), TOLD, "geometry_contradiction", "are micrometers")
add("NRRD, in a unit that nobody knows", in_unit("furlong"), TOLD, "geometry_contradiction", "no unit that is known")
add(
    "NRRD, different units",
    lambda d: nrrd(d / "x.nrrd", space_units='"mm" "mm" "cm"'),
    REFUSED,
    "truncated",
    "spaceunits",
)
add(
    "NRRD, vectors along the last axis",
    lambda d: nrrd(
        d / "x.nrrd",
        values=np.stack([VOXELS] * 3, 3),
        kinds="domain domain domain vector",
        space_directions="(2,1.5,0) (-1.2,1.6,0) (0,0,4) none",
    ),
    REFUSED,
    "is_rgb",
    "3 values",
)
add(
    "NRRD without any size of voxels",
    lambda d: nrrd(d / "x.nrrd", space_directions=None, axis_mins="0 0 0"),
    REFUSED,
    "no_orientation",
    "no field space directions",
)
add("MetaImage", lambda d: metaimage(d / "scan.mha"))
add("MetaImage, suffix in capitals", lambda d: metaimage(d / "SCAN.MHA"))
add("MetaImage, one volume in time", lambda d: metaimage(d / "scan.mha", axes=4))
add(
    "MetaImage without orientation",
    lambda d: metaimage(d / "x.mha", TransformMatrix=None),
    ASKED,
    "no_orientation",
    "TransformMatrix",
    affine=np.block([[np.diag([2.5, 2.0, 4.0]), LPS[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]]),
)
for size in ("20.7 24 16", "2e1 24 16", "0 24 16", "20 24"):
    add(
        f"MetaImage, a size of {size}",
        lambda d, s=size: metaimage(d / "x.mha", DimSize=s),
        REFUSED,
        "truncated",
        f"DimSize is '{size}'; 3 whole numbers",
    )
add(
    "MetaImage, one and a half channels",
    lambda d: metaimage(d / "x.mha", ElementNumberOfChannels="1.5"),
    REFUSED,
    "truncated",
    "ElementNumberOfChannels is '1.5'",
)
add(
    "MetaImage, cut off",
    lambda d: cut(metaimage(d / "scan.mha")),
    REFUSED,
    "truncated",
    "scan.mha is cut off or damaged",
)
add("MetaImage, packed, its packed size not told", lambda d: metaimage(d / "x.mha", ZIPPED, CompressedData="True"))
add(
    "MetaImage, packed, cut off",
    lambda d: metaimage(d / "x.mha", ZIPPED[:-30], CompressedData="True"),
    REFUSED,
    "truncated",
    "x.mha is cut off or damaged",
)
add("MetaImage, as text", lambda d: metaimage(d / "x.mha", WRITTEN, BinaryData="False"))
add("MetaImage, big-endian", lambda d: metaimage(d / "x.mha", BIG, BinaryDataByteOrderMSB="True"))
add(
    "MetaImage, 64-bit floats",
    lambda d: metaimage(d / "x.mha", VOXELS.astype("f8").tobytes(order="F"), ElementType="MET_DOUBLE"),
)
add("MetaImage, size of voxels as ElementSize", lambda d: metaimage(d / "x.mha", **SIZES, ElementSpacing=None))
add("MetaImage, place as Position", lambda d: metaimage(d / "x.mha", Offset=None, Position="-30 12.5 7"))
add(
    "MetaImage, mirrored axes",
    lambda d: metaimage(d / "x.mha", TransformMatrix="-0.8 -0.6 0 -0.6 0.8 0 0 0 1"),
    affine=LPS @ np.diag([-1.0, 1.0, 1.0, 1.0]),
)
add(
    "MetaImage without size of voxels",
    lambda d: metaimage(d / "x.mha", ElementSpacing=None),
    REFUSED,
    "bad_spacing",
    "no line ElementSpacing",
)
add(
    "MetaImage without place",
    lambda d: metaimage(d / "x.mha", Offset=None),
    TOLD,
    "no_origin",
    "no line Offset",
    affine=UNPLACED,
)
add(
    "MetaImage, a negative size of voxels",
    lambda d: metaimage(d / "x.mha", ElementSpacing="-2.5 2 4"),
    ASKED,
    "geometry_contradiction",
    "a negative size exchanges the sides",
    affine=LPS @ np.diag([-1.0, 1.0, 1.0, 1.0]),
)
add(
    "MetaImage, directions that are longer than 1",
    lambda d: metaimage(d / "x.mha", TransformMatrix="1.6 1.2 0 -0.6 0.8 0 0 0 1"),
    ASKED,
    "geometry_contradiction",
    "2 x 1 x 1 mm long",
    affine=LPS @ np.diag([2.0, 1.0, 1.0, 1.0]),
)
add("MetaImage, a file for each slice", lambda d: sliced(d, "s%02d.raw 0 15 1"))
add("MetaImage, a file for each slice, no step", lambda d: sliced(d, "s%02d.raw 0 15"))
add("MetaImage, a file for each slice, listed", lambda d: sliced(d, "LIST"))
add(
    "MetaImage, a file for each slice, one cut off",
    lambda d: sliced(d, "LIST", 5),
    REFUSED,
    "truncated",
    "s05.raw is cut off",
)
add(
    "MetaImage, three channels",
    lambda d: metaimage(d / "x.mha", ElementNumberOfChannels="3"),
    REFUSED,
    "is_rgb",
    "3 values",
)
add(
    "MetaImage, a kind of voxel that nobody knows",
    lambda d: metaimage(d / "x.mha", ElementType="MET_OTHER"),
    REFUSED,
    "not_an_image",
    "MET_OTHER",
)
add(
    "MetaImage, values that no float32 holds",
    lambda d: metaimage(d / "x.mha", (VOXELS * 1e300).tobytes(order="F"), ElementType="MET_DOUBLE"),
    REFUSED,
    "bad_intensities",
    "with which nothing can be computed",
)
for suffix in (".dcm", ".mha", ".nrrd", ".nii", ""):
    add(f"NIfTI, named scan{suffix}", lambda d, s=suffix: nifti(d / "x.nii.gz").rename(d / f"scan{s}"))
    add(f"NRRD, named scan{suffix}", lambda d, s=suffix: nrrd(d / "x.nrrd").rename(d / f"scan{s}"))
    add(f"MetaImage, named scan{suffix}", lambda d, s=suffix: metaimage(d / "x.mha").rename(d / f"scan{s}"))
add("NIfTI in one file, named scan.img", lambda d: nifti(d / "x.nii").rename(d / "scan.img"))
add(
    "NRRD, packed as a whole",
    lambda d: written(d / "x.nrrd.gz", gzip.compress(nrrd(d / "x.nrrd").read_bytes())),
    REFUSED,
    "not_an_image",
    "gzip-packed and, unpacked, a NRRD file",
)
add(
    "MetaImage, packed as a whole",
    lambda d: written(d / "x.mha.gz", gzip.compress(metaimage(d / "x.mha").read_bytes())),
    REFUSED,
    "not_an_image",
    "gzip-packed and, unpacked, a MetaImage file",
)
