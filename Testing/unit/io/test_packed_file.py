"""Packed results are gzip files like any other, the same for the same content, and no larger than usual."""

from __future__ import annotations

import gzip
import io

import numpy as np

from conddiffusion_uad.io.packed_file import PackedFile


def packed(content: bytes) -> bytes:
    stream = io.BytesIO()
    with PackedFile(stream) as file:
        file.write(content[:100])
        file.write(content[100:])
    assert not stream.closed
    return stream.getvalue()


def test_noisy_intensities_around_nothing_come_back_from_no_larger_file() -> None:
    values = np.zeros((40, 50, 60), np.float32)
    values[10:30, 10:40, 10:50] = np.random.default_rng(0).normal(300, 20, (20, 30, 40))
    content = values.tobytes()
    found = packed(content)
    assert gzip.decompress(found) == content
    assert len(found) <= len(gzip.compress(content, 1))
    assert packed(content) == found
