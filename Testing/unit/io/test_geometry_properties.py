"""Any valid geometry is read as the other programs read it: NIfTI as nibabel does, DICOM as highdicom does."""

from __future__ import annotations

from pathlib import Path

import made_up_scans as made
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.geometry import FLIP, affine_of
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60, derandomize=True
)
NUMBERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any place of a head-sized grid: rotation, voxel sizes, handedness, offset."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [draw(st.floats(-180, 180)) for _ in range(3)], degrees=True).as_matrix()
    signs = np.array([draw(st.sampled_from([1.0, -1.0])) for _ in range(3)])
    sizes = np.array([draw(st.floats(2.0, 6.0)) for _ in range(3)])
    affine[:3, :3] = turn * signs * sizes
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in range(3)]
    return affine


def of(image: sitk.Image) -> np.ndarray:
    """The affine matrix, RAS."""
    return FLIP @ affine_of(volume.Grid.of(image))


@SAME_FOLDER
@given(
    sform=affines(),
    qform=affines(),
    codes=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    order=st.sampled_from("<>"),
    number=st.sampled_from(NUMBERS),
    scaling=st.sampled_from([(1.0, 0.0), (0.5, -10.0), (0.0, 0.0), (float("nan"), 0.0), (2.5, 1000.0)]),
    second=st.booleans(),
)
def test_nifti_is_read_as_nibabel_reads_it_or_doubted(
    tmp_path: Path,
    sform: np.ndarray,
    qform: np.ndarray,
    codes: tuple[int, int],
    order: str,
    number: str,
    scaling: tuple[float, float],
    second: bool,
) -> None:
    def scaled(header: nibabel.Nifti1Header) -> None:
        header["scl_slope"], header["scl_inter"] = scaling
        header["sform_code"], header["qform_code"] = codes

    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    values = (made.VOXELS % 113).astype(number)
    path = made.nifti(tmp_path / "x.nii", values, sform=sform, qform=qform, change=scaled, order=order, kind=kind)
    told: list[str] = []
    image = volume.read(path, Reading(accept=True, warn=lambda code, *_: told.append(code)))
    expected = nibabel.load(path)
    np.testing.assert_allclose(of(image), expected.affine, atol=2e-3)
    found = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    np.testing.assert_allclose(found, expected.get_fdata(dtype=np.float64), rtol=1e-6)
    if codes == (0, 0):
        assert told == ["no_orientation"]
    elif told:
        assert set(told) == {"geometry_contradiction"}


@SAME_FOLDER
@given(affine=affines(), ending=st.sampled_from([".nii.gz", ".nrrd", ".mha"]))
def test_what_simpleitk_writes_anywhere_is_read_and_written_back_there(
    tmp_path: Path, affine: np.ndarray, ending: str
) -> None:
    grid = volume.Grid(made.SIZE, *_parts(affine))
    scan = grid.with_array(made.VOXELS.transpose(2, 1, 0))
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(scan, str(path))
    told: list[str] = []
    image = volume.read(path, Reading(warn=lambda code, *_: told.append(code)))
    volume.write(image, tmp_path / "result.nii.gz", like=image)
    assert not told
    np.testing.assert_allclose(nibabel.load(tmp_path / "result.nii.gz").affine, FLIP @ affine, atol=2e-3)
    again = sitk.ReadImage(str(tmp_path / "result.nii.gz"))
    np.testing.assert_allclose(again.GetOrigin(), scan.GetOrigin(), atol=2e-3)
    np.testing.assert_allclose(again.GetDirection(), scan.GetDirection(), atol=1e-4)


def _parts(affine: np.ndarray) -> tuple[tuple[float, ...], ...]:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return tuple(spacing), tuple(affine[:3, 3]), tuple((affine[:3, :3] / spacing).ravel())


@settings(SAME_FOLDER, max_examples=25)
@given(affine=affines(), seed=st.integers(0, 1000), moved=st.sampled_from(["", "missing", "aside", "turned", "uneven"]))
def test_dicom_is_read_as_highdicom_reads_it_and_refused_when_it_refuses(
    tmp_path_factory: pytest.TempPathFactory, affine: np.ndarray, seed: int, moved: str
) -> None:
    spatial = pytest.importorskip("highdicom.spatial")
    folder = tmp_path_factory.mktemp("series")
    random = np.random.default_rng(seed)
    spacing, columns = np.linalg.norm(affine[:3, :3], axis=0), affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    images = []
    for number, k in enumerate(random.permutation(made.SIZE[2])):
        if moved == "missing" and k == 6:
            continue
        image = made.dicom_slice(int(k))
        aside = {"aside": k * 0.5 * columns[:, 0], "uneven": 0.4 * spacing[2] * (k == 9) * columns[:, 2]}.get(moved, 0)
        image.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
        image.ImagePositionPatient = [f"{v:.10g}" for v in affine[:3, 3] + k * affine[:3, 2] + aside]
        turn = -1 if moved == "turned" and k > 8 else 1
        image.ImageOrientationPatient = [f"{v:.10g}" for v in (*(turn * columns[:, 0]), *columns[:, 1])]
        image.InstanceNumber = number + 1
        made.save(image, folder / f"{number}.dcm")
        images.append(image)
    theirs = None
    if len({tuple(image.ImageOrientationPatient) for image in images}) == 1:
        theirs, _ = spatial.get_series_volume_positions(images)
    told: list[str] = []
    reading = Reading(warn=lambda code, *_: told.append(code))
    if theirs is None and moved != "aside":
        with pytest.raises(BadInput):
            volume.read(folder, reading)
        return
    found = FLIP @ of(volume.read(folder, reading))
    assert told == (["resampled"] if theirs is None else [])
    ours = [np.array(image.ImagePositionPatient, float) for image in images]
    indices = np.linalg.solve(found[:3, :3], (np.array(ours) - found[:3, 3]).T)[2]
    np.testing.assert_allclose(indices, np.rint(indices), atol=1e-4)
    assert abs(abs(theirs or spacing[2]) - np.linalg.norm(found[:3, 2])) < 1e-3
