"""Artifacts of an MRI acquisition, simulated on a scan on its own grid, each in five severities.

Every effect acts on the *signal*: the scan scaled so that its darkest voxel is 0 and the 99th percentile of the brain
is 1. So the levels in :data:`CORRUPTIONS` mean the same in every scan. Axes are turned to z (up), y (back), x (left)
beforehand; phase is encoded along y, which lies in the plane of axial and of sagittal acquisitions.
"""

from __future__ import annotations

import cmath
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.preprocessing.stripped import foreground, is_stripped

SEVERITIES = (1, 2, 3, 4, 5)

_PHASE_AXIS = 1  # y
_GHOSTS = (3, 5)  # least and greatest number of ghosts that fit into the field of view
_MOVES = 2  # of the head, before and after the center of k-space is acquired
_MOVED_FROM = (0.05, 0.25)  # cycles per mm, divided by the extent: the restless move nearer to the center of k-space
_STRIPES_MM = (7.0, 14.0)  # distance of the stripes of a spike in an axial slice
_STRIPES_ANGLE = (0.45, 1.1)  # of the stripes, radians
_STRIPES_Z = 0.01  # largest frequency of a spike's stripes across slices, cycles per mm


@dataclass(frozen=True)
class Brain:
    """What an effect knows about the scan.

    Attributes:
        mask: bool (z, y, x).
        spacing: Along z, y, x in mm.
    """

    mask: np.ndarray
    spacing: np.ndarray


Effect = Callable[[np.ndarray, Brain, float, np.random.Generator], np.ndarray]


def _contrast(signal: np.ndarray, brain: Brain, exponent: float, random: np.random.Generator) -> np.ndarray:
    """``v^exponent`` of the intensities between the brain's 1st and 99th percentile; below, nothing changes."""
    low = np.percentile(signal[brain.mask], 1)
    scaled = (signal - low) / (1 - low)
    np.power(scaled, exponent, out=scaled, where=scaled > 0)
    return low + (1 - low) * scaled


def _ghosting(signal: np.ndarray, brain: Brain, strength: float, random: np.random.Generator) -> np.ndarray:
    """Shifted copies, as of a periodic movement: the lines of k-space are modulated by a cosine of period n.

    ``1 + 2 s cos(2 pi (k / n + phase))`` adds two copies of strength s, shifted by the field of view over n.
    """
    count, phase = random.integers(*_GHOSTS, endpoint=True), random.random()
    size = signal.shape[_PHASE_AXIS]
    lines = np.fft.fftfreq(size, 1 / size)
    factors = 1 + 2 * strength * np.cos(2 * np.pi * (lines / count + phase))
    spectrum = np.fft.fft(signal, axis=_PHASE_AXIS) * factors[:, None].astype(np.float32)
    return np.abs(np.fft.ifft(spectrum, axis=_PHASE_AXIS))


def _motion(signal: np.ndarray, brain: Brain, extent: float, random: np.random.Generator) -> np.ndarray:
    """Segments of k-space that show the head in other positions: turned by ``extent`` degrees, shifted by as many mm.

    The center of k-space shows the head at rest, so that the anatomy stays in its place; how much of it, falls with
    the extent.
    """
    lines = np.fft.fftfreq(signal.shape[_PHASE_AXIS], brain.spacing[_PHASE_AXIS])
    spectrum = np.fft.fft(signal, axis=_PHASE_AXIS)
    for side in (-1, 1):
        for start in np.sort(random.uniform(*_MOVED_FROM, _MOVES)) / extent:
            moved = _moved(signal, brain, extent * _direction(random), extent * _direction(random))
            late = side * lines >= start
            spectrum[:, late] = np.fft.fft(moved, axis=_PHASE_AXIS)[:, late]
    return np.abs(np.fft.ifft(spectrum, axis=_PHASE_AXIS))


def _moved(signal: np.ndarray, brain: Brain, degrees: np.ndarray, shift_mm: np.ndarray) -> np.ndarray:
    """The signal turned about the brain's center and shifted; vectors are (z, y, x)."""
    scale = np.diag(brain.spacing)
    turn = np.linalg.inv(scale) @ Rotation.from_rotvec(degrees, degrees=True).as_matrix() @ scale
    center = np.array(ndimage.center_of_mass(brain.mask))
    offset = center - turn @ center + shift_mm / brain.spacing
    return ndimage.affine_transform(signal, turn, offset, order=1, mode="nearest")


def _direction(random: np.random.Generator) -> np.ndarray:
    vector = random.normal(size=3)
    return vector / np.linalg.norm(vector)


def _spike(signal: np.ndarray, brain: Brain, strength: float, random: np.random.Generator) -> np.ndarray:
    """Two points of k-space that are far too bright: crossing stripes of an amplitude ``strength`` (herringbone)."""
    angle, result = random.uniform(*_STRIPES_ANGLE), signal.astype(np.complex64)
    for tilt in (-angle, angle):
        in_plane = 1 / random.uniform(*_STRIPES_MM)
        frequencies = random.uniform(-_STRIPES_Z, _STRIPES_Z), in_plane * np.sin(tilt), in_plane * np.cos(tilt)
        z, y, x = (
            np.exp(2j * np.pi * frequency * mm * np.arange(size)).astype(np.complex64)
            for frequency, mm, size in zip(frequencies, brain.spacing, signal.shape, strict=True)
        )
        result += strength * cmath.exp(2j * np.pi * random.random()) * z[:, None, None] * np.outer(y, x)
    return np.abs(result)


def _bias(signal: np.ndarray, brain: Brain, ratio: float, random: np.random.Generator) -> np.ndarray:
    """A smooth field, ``exp`` of a polynomial of 2nd order; in the brain its brightest is ``ratio`` of its darkest."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in signal.shape), indexing="ij")
    terms = (z, y, x, z * z, y * y, x * x, y * z, x * z, x * y)
    exponent = sum(weight * term for weight, term in zip(random.normal(size=len(terms)).tolist(), terms, strict=True))
    low, high = np.percentile(exponent[brain.mask], [1, 99]).tolist()
    return signal * np.exp((exponent - (low + high) / 2) * (math.log(ratio) / (high - low)))


def _noise(signal: np.ndarray, brain: Brain, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Rician noise: the magnitude of a signal with Gaussian noise of ``sigma`` in both channels."""
    real, imaginary = (random.standard_normal(signal.shape, np.float32) for _ in range(2))
    return np.hypot(signal + sigma * real, sigma * imaginary)


def _thickness(signal: np.ndarray, brain: Brain, thickness_mm: float, random: np.random.Generator) -> np.ndarray:
    """Averages over slices of ``thickness_mm`` along z, interpolated back; thinner than the scan's, nothing changes."""
    spacing, count = brain.spacing[0], len(signal)
    if thickness_mm <= spacing:
        return signal
    edges = np.arange(np.ceil(count * spacing / thickness_mm) + 1) * thickness_mm / spacing
    low, high = np.maximum(edges[:-1, None], np.arange(count)), np.minimum(edges[1:, None], np.arange(count) + 1)
    shares = np.maximum(high - low, 0)
    thick = np.tensordot(np.float32(shares / shares.sum(axis=1, keepdims=True)), signal, 1)
    centers = (edges[:-1] + edges[1:]) / 2 - 0.5
    back = np.stack([np.interp(np.arange(count), centers, row) for row in np.eye(len(centers))], axis=1)
    return np.tensordot(np.float32(back), thick, 1)


@dataclass(frozen=True)
class Corruption:
    """An artifact and how strong it is.

    Attributes:
        parameter: What a level says, with its unit.
        clean: The level that changes nothing.
        levels: One for each of :data:`SEVERITIES`.
        effect: Makes it.
    """

    parameter: str
    clean: float
    levels: tuple[float, float, float, float, float]
    effect: Effect


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "contrast": Corruption("exponent of the intensities", 1.0, (0.7, 1.5, 0.5, 2.0, 0.3), _contrast),
        "ghosting": Corruption("strength of a ghost", 0.0, (0.08, 0.13, 0.19, 0.27, 0.38), _ghosting),
        "motion": Corruption("movement, mm and degrees", 0.0, (1.0, 2.0, 3.5, 5.5, 8.0), _motion),
        "spike": Corruption("amplitude of the stripes", 0.0, (0.04, 0.07, 0.11, 0.17, 0.25), _spike),
        "bias field": Corruption("brightest / darkest", 1.0, (1.3, 1.7, 2.3, 3.2, 4.5), _bias),
        "noise": Corruption("sigma of the noise", 0.0, (0.03, 0.06, 0.1, 0.16, 0.25), _noise),
        "slice thickness": Corruption("thickness, mm", 0.0, (2.0, 3.0, 4.0, 5.0, 6.0), _thickness),
    }
)
"""By name. Strength, amplitude and sigma are shares of the brain's 99th percentile above the darkest voxel."""


def corrupt(scan: sitk.Image, brain: sitk.Image, name: str, severity: int, seed: int = 0) -> sitk.Image:
    """Simulate an artifact on a scan.

    The random pattern depends on the artifact and the seed, not on the severity: what grows is its strength. Where a
    scan without its skull shows background, it stays as it is.

    Args:
        scan: float32, 3-D, any orientation.
        brain: Its brain mask on the same grid, not empty.
        name: One of :data:`CORRUPTIONS`.
        severity: 1 (mild) to 5 (severe).

    Returns:
        float32 image on the same grid.
    """
    corruption = CORRUPTIONS[name]
    oriented = orient(scan)
    values = sitk.GetArrayFromImage(oriented.image)
    known = Brain(sitk.GetArrayFromImage(orient(brain).image) > 0, np.array(oriented.image.GetSpacing()[::-1]))
    black = float(values.min())
    white = float(np.percentile(values[known.mask], 99))
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    signal = (values - black) / (white - black)
    effect = corruption.effect(signal, known, corruption.levels[severity - 1], random)
    changed = values + (effect - signal) * (white - black)  # exactly the values where nothing happens
    if is_stripped(oriented.image):
        changed = np.where(sitk.GetArrayFromImage(foreground(oriented.image)) > 0, changed, values)
    return oriented.undo(Grid.of(oriented.image).with_array(changed.astype(np.float32)))
