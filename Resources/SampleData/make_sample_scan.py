"""Make the synthetic sample scan: a T2-like brain with one plain lesion whose place is known.

The anatomy is the MNI152 average brain that nilearn carries; nothing in it comes from a patient. Every seed gives
another brain (size, tilt, folds), another lesion (place, size, shape, brightness), another coil bias and other noise:

    python Resources/SampleData/make_sample_scan.py --seed 7 --output somewhere
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
from nilearn import datasets
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

SHIPPED_SEED = 11
SHIPPED_NAME = "synthetic_T2_brain"
DESCRIPTION = "synthetic T2-like brain made from MNI152, not a patient"

# T2-like brightness of the tissues, relative to cerebrospinal fluid.
WHITE_MATTER, GRAY_MATTER, FLUID = 0.34, 0.52, 1.0
UNITS_PER_BRIGHTNESS = 600.0  # of the stored int16 intensities
LESION_VOLUME_ML = (2.0, 8.0)
LESION_BRIGHTNESS = (0.75, 0.95)

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Tissues:
    """How much of each 1 mm voxel is white matter, gray matter and fluid, 0..1, axes (x, y, z)."""

    white: Array
    gray: Array
    fluid: Array

    @cached_property
    def brain(self) -> NDArray[np.bool_]:
        """Where there is more brain (fluid included) than not, without holes."""
        return ndimage.binary_fill_holes(self.white + self.gray + self.fluid > 0.5)


@dataclass(frozen=True)
class SampleScan:
    """A scan (int16, 0 outside the brain), its lesion (uint8, 1 inside) and the affine (mm, RAS+) of both."""

    intensities: NDArray[np.int16]
    lesion: NDArray[np.uint8]
    affine: NDArray[np.float64]


def load_tissues() -> tuple[Tissues, NDArray[np.float64]]:
    """The MNI152 tissue fractions at 1 mm and their affine; fluid is what gray and white matter leave of the brain."""
    mask = datasets.load_mni152_brain_mask(resolution=1)
    brain = mask.get_fdata(dtype=np.float32)
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32) * brain
    gray = datasets.load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32) * brain
    fluid = np.clip(brain - gray - white, 0, 1)
    return Tissues(white, gray, fluid), mask.affine


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], sigma_mm: float) -> Array:
    """A random field that varies over sigma_mm, with mean 0 and standard deviation 1."""
    # Computed on a coarse grid: a wide Gaussian at 1 mm would take most of a minute.
    step = max(1, int(sigma_mm / 3))
    coarse = rng.standard_normal([size // step + 2 for size in shape]).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma_mm / step, mode="wrap")
    grid = np.meshgrid(*(np.arange(size, dtype=np.float32) / step for size in shape), indexing="ij")
    field = ndimage.map_coordinates(coarse, grid, order=1, mode="nearest")
    return (field - field.mean()) / field.std()


def deform(tissues: Tissues, rng: np.random.Generator) -> Tissues:
    """Tilt (up to 6 degrees an axis), scale (up to 5 %) and warp (a few mm) the brain about its center."""
    shape = tissues.white.shape
    turn = Rotation.from_euler("xyz", rng.uniform(-6, 6, 3), degrees=True).as_matrix()
    matrix = turn @ np.diag(1 + rng.uniform(-0.05, 0.05, 3))
    center = (np.array(shape) - 1) / 2
    points = np.indices(shape, dtype=np.float32).reshape(3, -1) - center[:, None].astype(np.float32)
    points = (matrix.astype(np.float32) @ points).reshape(3, *shape) + center[:, None, None, None].astype(np.float32)
    for axis in range(3):
        points[axis] += 2.0 * smooth_field(rng, shape, 15.0) + 0.4 * smooth_field(rng, shape, 6.0)
    warped = (ndimage.map_coordinates(each, points, order=1) for each in (tissues.white, tissues.gray, tissues.fluid))
    return Tissues(*warped)


def place_lesion(tissues: Tissues, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A roundish, slightly irregular lesion of 2 to 8 ml whose center lies deep in the white matter."""
    brain = tissues.brain
    volume_mm3 = 1000 * rng.uniform(*LESION_VOLUME_ML)
    radius = (volume_mm3 * 3 / (4 * np.pi)) ** (1 / 3)
    white = ndimage.gaussian_filter(tissues.white, radius / 2)
    fluid = ndimage.gaussian_filter(tissues.fluid, radius / 2)
    # The cerebellum lies lower and the narrow gyri of the vertex higher; beside a ventricle it would not stand alone.
    height = np.arange(white.shape[2]) / white.shape[2]
    deep = np.argwhere((white > 0.6) & (fluid < 0.06) & (height > 0.4) & (height < 0.72))
    center = deep[rng.integers(len(deep))]
    half = int(2.5 * radius)
    box = tuple(slice(max(0, c - half), c + half) for c in center)
    offsets = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1) - center
    distance = np.linalg.norm(offsets / rng.uniform(0.75, 1.33, 3), axis=-1) / radius
    distance += 0.08 * smooth_field(rng, distance.shape, 4.0)
    lesion = np.zeros(tissues.white.shape, bool)
    allowed = (tissues.fluid[box] < 0.5) & brain[box]
    nearest = np.sort(distance[allowed])
    lesion[box] = allowed & (distance <= nearest[min(int(volume_mm3), len(nearest) - 1)])
    return lesion


def render(tissues: Tissues, lesion: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int16]:
    """The intensities: tissues, lesion with a soft edge, coil bias and Rician noise; 0 outside the brain."""
    brightness = WHITE_MATTER * tissues.white + GRAY_MATTER * tissues.gray + FLUID * tissues.fluid
    inside = ndimage.gaussian_filter(lesion.astype(np.float32), 0.8)
    brightness += inside * (rng.uniform(*LESION_BRIGHTNESS) - brightness)
    brightness *= 1 + 0.02 * smooth_field(rng, brightness.shape, 2.0)
    brightness *= np.exp(0.07 * smooth_field(rng, brightness.shape, 45.0))
    noise = rng.standard_normal((2, *brightness.shape), dtype=np.float32) * 0.015
    magnitude = np.hypot(brightness + noise[0], noise[1])
    return np.round(np.where(tissues.brain, magnitude, 0) * UNITS_PER_BRIGHTNESS).astype(np.int16)


def make_sample_scan(seed: int) -> SampleScan:
    """The synthetic scan of this seed: the same seed gives the same scan, another one another scan."""
    rng = np.random.default_rng(seed)
    template, affine = load_tissues()
    tissues = deform(template, rng)
    lesion = place_lesion(tissues, rng)
    return SampleScan(render(tissues, lesion, rng), lesion.astype(np.uint8), affine)


def write(scan: SampleScan, folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.nii.gz and NAME_truth.nii.gz, which say in their headers what they are; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.nii.gz", folder / f"{name}_truth.nii.gz"
    for path, array in zip(paths, (scan.intensities, scan.lesion), strict=True):
        image = nibabel.Nifti1Image(array, scan.affine)
        image.header["descrip"] = DESCRIPTION
        image.header.set_xyzt_units("mm")
        image.set_qform(scan.affine, code="scanner")
        image.set_sform(scan.affine, code="scanner")
        nibabel.save(image, path)
    return paths


def main() -> None:
    """Make one scan and say where it is and how large its lesion is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SHIPPED_SEED)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--name", default=SHIPPED_NAME)
    arguments = parser.parse_args()
    scan = make_sample_scan(arguments.seed)
    for path in write(scan, arguments.output, arguments.name):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    center = nibabel.affines.apply_affine(scan.affine, np.argwhere(scan.lesion).mean(0))
    print(f"lesion: {scan.lesion.sum() / 1000:.1f} ml around {np.round(center)} mm (RAS)")


if __name__ == "__main__":
    main()
