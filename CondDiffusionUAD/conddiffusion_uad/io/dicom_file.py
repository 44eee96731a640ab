"""One DICOM file: its header, and single values of it, whatever else is in there.

Nothing is needed of a header but geometry, contrast and identity, so that no text, private element or missing tag can
keep a scan from being read; a value that is needed and is not there, or is none, is named.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from conddiffusion_uad.io.dicom_lengths import lengths_fit
from conddiffusion_uad.protocol.failures import BadInput, shown

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_INFLATED = 1 << 30  # bytes
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = 0x7FE00010
SUFFIXES = (".dcm", ".ima", ".dicom")
T = TypeVar("T")


def begins(begin: bytes) -> bool:
    """Whether a file begins as DICOM files do."""
    return begin[128:132] == b"DICM"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its first bytes, or by its name. Raises OSError."""
    with path.open("rb") as stream:
        return begins(stream.read(132)) or path.name.lower().endswith(SUFFIXES)


def header(path: Path) -> Dataset | None:
    """The header of a file; None when it is not DICOM.

    Raises:
        BadInput: truncated, not_readable or not_an_image.
    """
    try:
        if not lengths_fit(path):
            raise BadInput("truncated", f"{path.name} is cut off or damaged.", "Copy or export the series again.")
        with path.open("rb") as stream:
            begin = stream.read(132)
    except OSError as error:
        raise unreadable(path, error.strerror or "") from error
    if begin[128:] != b"DICM" and begin[:2] not in (b"\x02\0", b"\x08\0"):
        return None
    _check_deflated(path)
    found = _load(path, stop_before_pixels=True)
    if begin[128:] != b"DICM" and text(found, "SOPClassUID") == "":
        return None  # another file that happens to begin with these bytes
    return found


def _check_deflated(path: Path) -> None:
    """Raise BadInput("too_large") for a deflated file of some MB that would have us inflate gigabytes."""
    with path.open("rb") as stream:
        begin = stream.read(1024)
        if _DEFLATED not in begin or begin[132:136] != b"\2\0\0\0":
            return
        stream.seek(144 + int.from_bytes(begin[140:144], "little"))
        unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            while data := unpacker.unconsumed_tail or stream.read(1 << 20):
                total += len(unpacker.decompress(data, 1 << 20))
                if total > _MOST_INFLATED:
                    raise BadInput("too_large", f"{path.name} inflates to gigabytes.", "Export the series again.")
        except zlib.error as error:
            raise unreadable(path, "it is cut off or damaged") from error


def whole(path: Path) -> Dataset:
    """A file with its pixels. Raises BadInput: not_an_image."""
    return _load(path, stop_before_pixels=False)


def unreadable(path: Path, why: str = "") -> BadInput:
    """The failure for a file that cannot be read."""
    because = f": {why}" if why else ""
    message = f"{path.name} cannot be read as DICOM{because}."
    return BadInput("not_an_image", message, "Copy or export the series again.")


def _load(path: Path, *, stop_before_pixels: bool) -> Dataset:
    from pydicom.filereader import read_partial

    last = _PIXELS if stop_before_pixels else _PIXELS + 1  # whatever follows the pixels may be anything
    try:
        with quiet(), path.open("rb") as stream:
            return read_partial(stream, lambda tag, vr, length: tag >= last, force=True)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # pydicom has no kind of its own
        raise unreadable(path) from error


@contextmanager
def quiet() -> Iterator[None]:
    """While pydicom is at work: it checks no values that nobody needs, and tells the log nothing of patients."""
    from pydicom import config

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
    reading, writing = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = reading, writing


def value(dataset: Dataset | None, keyword: str) -> Any:
    """The value of an element; None when it is missing, empty or cannot be understood."""
    try:
        with quiet():
            found = None if dataset is None else dataset.get(keyword)
    except Exception:  # whatever is wrong with it
        return None
    return None if found is None or (hasattr(found, "__len__") and len(found) == 0) else found


def text(dataset: Dataset | None, keyword: str) -> str:
    """The value of an element as text that can be printed, several with "\\" between them; empty when missing."""
    found = value(dataset, keyword)
    if found is None:
        return ""
    parts = found if isinstance(found, (list, tuple)) or type(found).__name__ == "MultiValue" else [found]
    joined = "\\".join(str(part) for part in parts).strip("\0 ")
    return "".join(letter if letter.isprintable() else " " for letter in joined).encode("utf-8", "replace").decode()


def item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """The first item of a sequence; None when there is none."""
    found = value(dataset, keyword)
    return found[0] if type(found).__name__ == "Sequence" else None


def numbers(dataset: Dataset | None, keyword: str, count: int, where: str) -> tuple[float, ...]:
    """The numbers of an element that has to have so many; `where` names the image in the message.

    Raises:
        BadInput: bad_tag, which names file, tag and value.
    """
    found = value(dataset, keyword)
    try:
        parts = tuple(float(part) for part in (found if count > 1 else [found]))
    except (TypeError, ValueError):
        parts = ()
    if len(parts) != count or not all(abs(part) < 1e9 for part in parts):  # so NaN is none, too
        raise bad_tag(where, dataset, keyword, f"{count} numbers are" if count > 1 else "a number is")
    return parts


def number(dataset: Dataset | None, keyword: str) -> float | None:
    """One number, if there is one."""
    return _as(float, value(dataset, keyword))


def integer(dataset: Dataset | None, keyword: str) -> int | None:
    """One whole number, if there is one."""
    found = number(dataset, keyword)
    return int(found) if found is not None and found % 1 == 0 else None


def _as(kind: Callable[[Any], T], found: Any) -> T | None:
    try:
        return kind(found)
    except (TypeError, ValueError, OverflowError):
        return None


def keyword_for(tag: str) -> str:
    """The keyword of a tag "gggg,eeee"."""
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(int(tag.replace(",", ""), 16))


def bad_tag(where: str, dataset: Dataset | None, keyword: str, expected: str) -> BadInput:
    """The failure for an element that is needed and missing, or is not what it has to be."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    said = text(dataset, keyword) or _raw(dataset, tag)
    state = f"is {shown(said)}" if said else "is missing or empty"
    message = f"The tag {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}) of {where} {state}; {expected} expected."
    return BadInput("bad_tag", message, "Export the series again from the archive or the scanner, with all its tags.")


def _raw(dataset: Dataset | None, tag: int) -> str:
    """The bytes of an element that cannot be understood, as text."""
    try:
        found = None if dataset is None else dataset.get_item(tag)
        return "" if found is None else bytes(found.value or b"").decode("ascii", "replace").strip("\0 ")
    except Exception:
        return ""
