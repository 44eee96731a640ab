"""Every way in which scans are stored is read rightly, or refused for the true reason."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from stored_scans import ASKED, CASES, READ, REFUSED, TOLD, Stored

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.geometry import affine_of
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

Words = list[tuple[str, str, str]]


def read(path: Path, **options: object) -> tuple[sitk.Image, Words]:
    told: Words = []
    return volume.read(path, Reading(**options, warn=lambda *words: told.append(words))), told


def is_the_scan(image: sitk.Image, case: Stored) -> None:
    """Every voxel is where it is, and is what it is, whatever the order of the axes in memory."""
    affine = affine_of(volume.Grid.of(image))
    to_case = np.linalg.inv(case.affine) @ affine
    indices = np.indices(image.GetSize()).reshape(3, -1)
    assert len(indices[0]) == case.values.size
    there = to_case[:3, :3] @ indices + to_case[:3, 3:]
    np.testing.assert_allclose(there, np.rint(there), atol=0.01)
    found = sitk.GetArrayFromImage(image).transpose(2, 1, 0)[tuple(indices)]
    expected = case.values[tuple(np.rint(there).astype(int))]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.way}")
def test_stored(case: Stored, tmp_path: Path) -> None:
    if "link" in case.way and os.name != "posix":
        pytest.skip("links need rights that nobody has there")
    path = case.make(tmp_path)
    if case.outcome in (READ, TOLD):
        image, told = read(path)
        assert [words[0] for words in told] == ([case.code] if case.outcome == TOLD else [])
        assert not told or case.says in f"{told[0][1]} {told[0][2]}"
        is_the_scan(image, case)
        return
    with pytest.raises(BadInput) as caught:
        read(path)
    failure = caught.value
    assert (failure.code, case.says in f"{failure.message} {failure.hint}") == (case.code, True), failure.message
    assert failure.message.endswith(".") and failure.hint.endswith(".") and len(failure.message) < 900
    if case.outcome == ASKED:
        assert "--accept-any-scan" in failure.hint
        image, told = read(path, accept=True)
        assert [words[0] for words in told] == [case.code]
        is_the_scan(image, case)
    if case.options:
        assert f"--{next(iter(case.options))} " in failure.hint
        image, told = read(path, **case.options)
        assert not told
        is_the_scan(image, case)


@pytest.mark.parametrize(
    "case", [case for case in CASES if "the place" in case.group and "NIfTI" in case.group], ids=lambda case: case.way
)
def test_results_lie_where_nibabel_reads_the_scan(case: Stored, tmp_path: Path) -> None:
    if case.outcome == REFUSED:
        return
    path = case.make(tmp_path)
    scan, _ = read(path, accept=True)
    volume.write(scan * 2.0, tmp_path / "result.nii.gz", like=scan)
    result, source = nibabel.load(tmp_path / "result.nii.gz"), nibabel.load(path)
    np.testing.assert_allclose(result.affine, source.affine, atol=1e-5)
