"""NRRD and MetaImage files."""

from __future__ import annotations

import numpy as np
from made_up_scans import LPS, VOXELS, metaimage, nrrd

from stored_scans.stored import ASKED, REFUSED, TOLD, Make, adder, cut, without

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
    "lengths in cm",
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
add("MetaImage", lambda d: metaimage(d / "scan.mha"))
add("MetaImage, suffix in capitals", lambda d: metaimage(d / "SCAN.MHA"))
add("MetaImage, one volume in time", lambda d: metaimage(d / "scan.mha", axes=4))
add(
    "MetaImage without orientation",
    lambda d: metaimage(d / "x.mha", placed=False),
    ASKED,
    "no_orientation",
    "TransformMatrix",
    affine=np.block([[np.diag([2.5, 2.0, 4.0]), LPS[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]]),
)
add(
    "MetaImage, cut off",
    lambda d: cut(metaimage(d / "scan.mha")),
    REFUSED,
    "truncated",
    "scan.mha is cut off or damaged",
)
