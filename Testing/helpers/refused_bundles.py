"""Bundles that must be refused when they are imported."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from conddiffusion_uad.bundle.importing import import_bundle
from conddiffusion_uad.protocol.failures import BundleFailure


def archive(folder: Path, prefix: str = "", **more: bytes) -> Path:
    """A ZIP archive of a folder, with further entries."""
    path = folder.parent / "small.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                made.write(file, prefix + file.relative_to(folder).as_posix())
        for name, content in more.items():
            made.writestr(name, content)
    return path


def refused(source: Path, home: Path, **options: object) -> BundleFailure:
    """Import what must be refused; nothing may be left of it."""
    with pytest.raises(BundleFailure) as caught:
        import_bundle(source, **options)  # type: ignore[arg-type]
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message and caught.value.hint
    assert not home.exists() or os.listdir(home) == []
    return caught.value
