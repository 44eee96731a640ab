"""Packages of a few bytes, as wheels in a folder and behind a registry: to try installations without any network."""

from __future__ import annotations

import base64
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Tries an environment as EnvironmentTest.py does: here, with one tiny package.
TEST = """
import json, platform, sys
import tinytorch
print(json.dumps({"python": platform.python_version(), "torch": tinytorch.VERSION, "packages": [["tinytorch", "1.0"]]}))
"""

LITTER = "\nfor number in range(10_000): open(f'{number}', 'w').close()\n"
"""Follows TEST, in its work folder: so much that to remove it takes a while, as real downloads do."""


def make_wheel(folder: Path, name: str, version: str = "1.0", requires: tuple[str, ...] = (), filling: int = 0) -> Path:
    """A wheel with one module of that name, and some bytes that cannot be packed."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    noise = (hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(filling))
    files = {
        f"{name}.py": f"VERSION = {version!r}\n".encode(),
        f"{name}_filling.bin": b"".join(noise),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return _pack(folder / f"{name}-{version}-py3-none-any.whl", files, info)


def make_uv_wheel(folder: Path, script: str) -> Path:
    """A wheel of a "uv" that is a shell script."""
    info = "uv-0.13.9.dist-info"
    files = {
        "uv-0.13.9.data/scripts/uv": script.encode(),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: uv\nVersion: 0.13.9\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    }
    return _pack(folder / "uv-0.13.9-py3-none-any.whl", files, info)


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A package index of the wheels in a folder, on this computer; gives its address."""
    index = folder / "simple"
    for wheel in folder.glob("*.whl"):
        page = index / wheel.name.partition("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        page.write_text(f'<a href="/{wheel.name}#sha256={digest}">{wheel.name}</a>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _pack(path: Path, files: dict[str, bytes], info: str) -> Path:
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path
