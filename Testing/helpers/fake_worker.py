"""Speaks the worker's protocol and does what it is told, to try what the Slicer side makes of it: fake_worker.py MODE.

It needs nothing but numpy, so that it runs in every Slicer.

    ok          makes results with one ball of high scores
    several     makes results with four balls, one of them beyond the scale
    noisy       the same, among output that is no event
    patient     goes on until it is canceled
    deaf        does not answer to "cancel", but ends with its input
    stubborn    cannot be ended but by force
    empty       says "done" without results
    damaged     makes results of which one file is cut off
    elsewhere   makes results on another grid
    chatty      the same, among 10 MB of output that is no event, with a line that takes half of it
    garbled     the same, among lines that are nearly events
    cut CODE    ends in the middle of an event
    warn CODE   makes results, with a warning
    exit CODE   ends with an exit code
    error CODE  answers with an error
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np

MODE = sys.argv[1]
PICTURE = (  # one gray pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
NIFTI_TYPES = {"float32": (16, 32), "uint16": (512, 16)}


def emit(event: dict, number: int | None = None) -> None:
    """Send an event."""
    sys.stdout.write(json.dumps({**event, "id": number}) + "\n")
    sys.stdout.flush()


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The voxels (z, y, x) and the matrix (3 x 4) to patient coordinates (R, A, S) of a raw NRRD file."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode("ascii").splitlines() if ": " in line)
    size = [int(number) for number in fields["sizes"].split()]
    kind = {"float": "f4", "double": "f8"}.get(fields["type"]) or np.dtype(fields["type"]).str[1:]
    vectors = [*fields["space directions"].split(), fields["space origin"]]
    matrix = np.array([[float(number) for number in vector.strip("()").split(",")] for vector in vectors]).T
    return np.frombuffer(data, "<" + kind).reshape(size[::-1]), matrix


def write_nifti(path: Path, array: np.ndarray, matrix: np.ndarray) -> None:
    """Write voxels (z, y, x) with a matrix (3 x 4)."""
    code, bits = NIFTI_TYPES[array.dtype.name]
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *array.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1.0, *np.linalg.norm(matrix[:, :3], axis=0), 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)
    header[123] = 2
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, *matrix.ravel())
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + array.tobytes(), 1))


def write_results(order: dict) -> Path:
    """Write what a detection writes; returns the report."""
    scan, matrix = read_nrrd(Path(order["inputs"][0]))
    output = Path(order["output"])
    output.mkdir()
    z, y, x = np.indices(scan.shape)
    middle = [size / 2 for size in scan.shape]
    score = np.full(scan.shape, 0.5, np.float32)
    score[(z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2 < 9] = 3.5
    if MODE == "elsewhere":
        matrix = matrix + np.array([[0, 0, 0, 5.0]] * 3)
    if MODE == "several":
        for place, radius, peak in ((0.15, 3, 30.0), (0.33, 2, 3.0), (0.8, 2, 2.5)):
            ball = sum((axis - place * size) ** 2 for axis, size in zip((z, y, x), scan.shape, strict=True)) < radius**2
            score[ball] = peak
    write_nifti(output / "heatmap.nii.gz", score, matrix)
    (output / "overview.png").write_bytes(base64.b64decode(PICTURE))
    write_nifti(output / "reconstruction.nii.gz", scan.astype(np.float32), matrix)
    if order["uncertainty"]:
        write_nifti(output / "uncertainty.nii.gz", score / 10, matrix)
    write_nifti(output / "segmentation.nii.gz", (score > 2).astype(np.uint16), matrix)
    header = "number,volume_ml,peak_score,mean_score,centre_r_mm,centre_a_mm,centre_s_mm\n"
    (output / "findings.csv").write_text(header + "1,7.0,3.5,3.5,0,0,0\n")
    report = {
        "software": {"conddiffusion_uad": "0"},
        "bundle": {"name": "fake"},
        "parameters": {
            "contrast": "T1",
            "threshold": 2.0,
            "min_volume_ml": 0.05,
            "uncertainty": order["uncertainty"],
        },
    }
    if MODE == "several" and len(sys.argv) > 2:
        report.update(json.loads(sys.argv[2]))
    (output / "report.json").write_text(json.dumps(report))
    if MODE == "damaged":
        whole = (output / "heatmap.nii.gz").read_bytes()
        (output / "heatmap.nii.gz").write_bytes(whole[: len(whole) // 2])
    return output / "report.json"


def noise() -> None:
    """Output that is no event."""
    sys.stdout.write("a library says hello\n[1, 2]\n")
    sys.stdout.flush()
    os.write(2, b"gr\xc3")
    time.sleep(0.05)
    os.write(2, b"\xbc\xc3\x9fe\n\xff\xfe\nthe last line does not end")


def chatter() -> None:
    """10 MB of output that is no event."""
    for stream in (1, 2):
        data = b"a library says something of one hundred characters".ljust(99) + b"\n"
        os.write(stream, data)
        for _ in range(250):
            os.write(stream, data * 100)
        for _ in range(250):
            os.write(stream, b"x" * 10_000)
    os.write(1, b"\n")


def garble(number: int) -> None:
    """Lines that are nearly events."""
    lines = [
        b'{"event": "progress", "fraction": 0.',
        b'{"event": "progress", "fraction": "some", "id": %d}' % number,
        b'{"event": "progress", "fraction": NaN, "id": %d}' % number,
        b'{"event": "progress", "id": %d}' % number,
        b'{"event": "progress", "fraction": 0.5, "eta_s": [1], "id": %d}' % number,
        b'{"event": "stage", "id": %d}' % number,
        b'{"event": "estimate", "seconds": 5.0, "id": %d}' % number,
        b'{"event": "dance", "id": %d}' % number,
        b'{"event": 3, "id": %d}' % number,
        b'{"event": "done", "report": "elsewhere", "id": [%d]}' % number,
        b'\xff\xfe{"event": "done", "id": %d}' % number,
        b"\0" * 100,
        b"[" * 50_000,
    ]
    os.write(1, b"\r\n".join([*lines, b""]))


def detect(order: dict) -> None:
    """Do what the mode says with a job."""
    number = order["id"]
    emit({"event": "stage", "name": "read", "index": 1, "total": 13}, number)
    emit({"event": "progress", "fraction": 0.1, "eta_s": 12.0}, number)
    if MODE == "noisy":
        noise()
    elif MODE == "chatty":
        chatter()
    elif MODE == "garbled":
        garble(number)
    if MODE in ("ok", "several", "noisy", "chatty", "garbled", "warn", "damaged", "elsewhere"):
        code = sys.argv[2] if MODE == "warn" else "w"
        emit({"event": "warning", "code": code, "message": "A warning.", "hint": "A hint."}, number)
        emit({"event": "progress", "fraction": 1.0, "eta_s": 0.0}, number)
        emit({"event": "done", "report": str(write_results(order))}, number)
    elif MODE == "empty":
        emit({"event": "done", "report": "nowhere"}, number)
    elif MODE == "cut":
        os.write(1, b'{"event": "done", "rep')
        os._exit(int(sys.argv[2]))
    elif MODE == "exit":
        os._exit(int(sys.argv[2]))
    elif MODE == "error":
        hint = sys.argv[3] if len(sys.argv) > 3 else "--device"
        emit({"event": "error", "code": sys.argv[2], "message": "scan.nrrd made trouble.", "hint": hint}, number)


def prepare(number: int) -> None:
    """Be ready, or not."""
    if MODE == "error":
        emit({"event": "error", "code": sys.argv[2], "message": "It is not ready.", "hint": ""}, number)
        return
    devices = [{"name": "cpu", "label": "CPU", "memory_gb": None, "supported": True}]
    emit({"event": "ready", "memory_mb": 570.6, "torch": "2.13.0", "devices": devices}, number)


def main() -> None:
    """Take orders until there are no more."""
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        if order["job"] == "detect":
            threading.Thread(target=detect, args=(order,), daemon=True).start()
        elif order["job"] == "prepare":
            prepare(order["id"])
        elif order["job"] == "cancel" and MODE == "patient":
            emit({"event": "error", "code": "cancelled", "message": "", "hint": ""}, order["id"])
    while MODE == "stubborn":
        time.sleep(1)


if __name__ == "__main__":
    main()
