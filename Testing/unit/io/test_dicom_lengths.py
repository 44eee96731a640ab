"""Elements that claim more than their file has are found, wherever they stand; whole files and other files pass."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from conddiffusion_uad.io.dicom_lengths import lengths_fit

EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    b"1.2.840.10008.1.2.1\0",
    b"1.2.840.10008.1.2\0",
    b"1.2.840.10008.1.2.2\0",
    b"1.2.840.10008.1.2.1.99",
)
GIANT = 0xFFFFFFF0
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
PIXELS, NAME, SEQUENCE, PRIVATE = (0x7FE0, 0x0010), (0x0010, 0x0010), (0x0008, 0x1140), (0x0029, 0x1010)


def element(
    tag: tuple[int, int], kind: bytes, value: bytes = b"", *, length: int | None = None, order: str = "<"
) -> bytes:
    """An element; without a kind as the implicit syntax has it."""
    claimed = len(value) if length is None else length
    head = struct.pack(f"{order}HH", *tag)
    if not kind:
        return head + struct.pack(f"{order}I", claimed) + value
    if kind in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return head + kind + b"\0\0" + struct.pack(f"{order}I", claimed) + value
    return head + kind + struct.pack(f"{order}H", claimed) + value


def file(path: Path, syntax: bytes, *elements: bytes) -> Path:
    meta = element((0x0002, 0x0010), b"UI", syntax)
    path.write_bytes(bytes(128) + b"DICM" + meta + b"".join(elements))
    return path


def test_whole_files_pass(tmp_path: Path) -> None:
    item = element(ITEM, b"", element(NAME, b"PN", b"nobody"))
    nested = element(ITEM, b"", element(SEQUENCE, b"SQ", item), length=None)
    endless = element(ITEM, b"", element(NAME, b"PN", b"no") + element(ITEM_END, b""), length=UNDEFINED)
    fragments = element(ITEM, b"") + element(ITEM, b"", b"\xff\xd8 jpeg \xff\xff\xff\xff") + element(SEQUENCE_END, b"")
    explicit = [
        element(NAME, b"PN", b"nobody"),
        element(SEQUENCE, b"SQ", nested),
        element(SEQUENCE, b"SQ", endless + element(SEQUENCE_END, b""), length=UNDEFINED),
        element(PIXELS, b"OB", fragments, length=UNDEFINED),
        element((0xFFFC, 0xFFFC), b"OB", b"\0" * 10),
    ]
    assert lengths_fit(file(tmp_path / "a", EXPLICIT, *explicit))
    implicit = [element(NAME, b"", b"nobody"), element(SEQUENCE, b"", element(ITEM, b"", element(NAME, b"", b"no")))]
    assert lengths_fit(file(tmp_path / "b", IMPLICIT, *implicit, element(PIXELS, b"", bytes(50))))
    big = [element(NAME, b"PN", b"nobody", order=">"), element(PIXELS, b"OW", bytes(50), order=">")]
    assert lengths_fit(file(tmp_path / "c", BIG, *big))
    assert lengths_fit(file(tmp_path / "d", DEFLATED, b"\xff" * 100))
    (tmp_path / "e").write_bytes(b"".join(implicit))
    assert lengths_fit(tmp_path / "e")


@pytest.mark.parametrize("content", [b"", b"Please read me first.\n" * 20, b"\xff" * 500, b"\x89PNG" + b"\xff" * 200])
def test_other_files_are_not_judged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    assert lengths_fit(tmp_path / "x")


GIANTS = {
    "pixels": (EXPLICIT, element(PIXELS, b"OW", bytes(50), length=GIANT)),
    "implicit": (IMPLICIT, element(NAME, b"", b"nobody", length=GIANT)),
    "short length": (EXPLICIT, element(NAME, b"PN", b"nobody", length=60_000)),
    "big endian": (BIG, element(PIXELS, b"OW", bytes(50), length=GIANT, order=">")),
    "unknown": (EXPLICIT, element(PRIVATE, b"UN", b"", length=GIANT)),
    "in an item": (EXPLICIT, element(SEQUENCE, b"SQ", element(ITEM, b"", element(PRIVATE, b"OB", length=GIANT)))),
    "in an implicit item": (IMPLICIT, element(SEQUENCE, b"", element(ITEM, b"", element(PRIVATE, b"", length=GIANT)))),
    "an item": (EXPLICIT, element(SEQUENCE, b"SQ", element(ITEM, b"", b"", length=GIANT))),
    "a fragment": (EXPLICIT, element(PIXELS, b"OB", element(ITEM, b"", b"", length=GIANT), length=UNDEFINED)),
    "cut": (EXPLICIT, element(PIXELS, b"OW", bytes(5000))[:-1]),
}


@pytest.mark.parametrize("name", GIANTS)
def test_what_claims_too_much_is_found(name: str, tmp_path: Path) -> None:
    syntax, content = GIANTS[name]
    assert not lengths_fit(file(tmp_path / "x", syntax, element((0x0008, 0x0060), b"CS", b"MR"), content))


def test_a_beginning_that_is_none_is_damage(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(128) + b"DICM" + bytes(100))
    assert not lengths_fit(tmp_path / "x")
