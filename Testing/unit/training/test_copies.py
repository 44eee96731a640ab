"""A copy of a bundle takes the place of nothing but an earlier bundle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.copies import copy_with


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def linked(bundle: Path) -> Path:
    link = bundle.parent / "link"
    link.symlink_to(bundle)
    return link / "copy"


def diary(bundle: Path) -> Path:
    folder = bundle.parent / "diary"
    folder.mkdir()
    (folder / "monday.txt").write_text("dear diary")
    return folder


THERE, WITHIN, OTHER = "the bundle is there", "in the bundle itself", "is no bundle, and would be removed"
PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "the bundle": (lambda bundle: bundle, THERE),
    "around it": (lambda bundle: bundle.parent, THERE),
    "in it": (lambda bundle: bundle / "copy", WITHIN),
    "in it, a long way round": (lambda bundle: bundle / "configs" / ".." / "models" / "copy", WITHIN),
    "in it, by a link": (linked, WITHIN),
    "another folder": (diary, OTHER),
    "a file": (lambda bundle: diary(bundle) / "monday.txt", OTHER),
}


@pytest.mark.skipif(os.name != "posix", reason="links need rights that nobody has there")
@pytest.mark.parametrize(("place", "why"), PLACES.values(), ids=PLACES)
def test_a_copy_where_something_else_is_is_refused(
    place: Callable[[Path], Path], why: str, small_bundle: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(small_bundle, tmp_path / "bundle")
    output, bundle = place(own), bundles.load(str(own))
    before = files(tmp_path)
    with pytest.raises(BadInput, match=why):
        copy_with(bundle, bundle.method, output, {})
    assert files(tmp_path) == before


def test_a_copy_takes_the_place_of_an_earlier_one(small_bundle: Path, tmp_path: Path) -> None:
    bundle = bundles.load(str(small_bundle))
    (tmp_path / "copy").mkdir()
    for told in ({"first": 1}, {"second": 2}):
        copy_with(bundle, bundle.method, tmp_path / "copy", told)
        metadata = bundles.load(str(tmp_path / "copy")).metadata
        assert told.items() <= metadata.items()
    assert "first" not in metadata
