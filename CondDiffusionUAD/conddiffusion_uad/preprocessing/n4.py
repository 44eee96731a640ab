"""N4, the estimate of a scan's shading by Tustison et al., IEEE Trans Med Imaging 29:1310, 2010.

The same computation as ITK's filter. There splines are fitted voxel by voxel, as to scattered points; on a grid their
sums are products of one small matrix for each axis, which takes a twentieth of the time, can be stopped after any
iteration and does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

BINS = 200  # of the histogram that is sharpened
FWHM = 0.15  # of the blur by shading in the histogram of logarithms
WIENER_NOISE = 0.01  # of the filter that undoes this blur
CONVERGED = 0.001  # coefficient of variation of the change of the field below which the fit is over
ORDER = 3  # of the splines
END = 1e-3  # of a voxel, by which the last voxel is moved inward, so that it lies in the last piece


def log_field(
    log_image: np.ndarray,
    mask: np.ndarray,
    control_points: Sequence[int],
    iterations: int,
    progress: Callable[[float], None],
) -> np.ndarray:
    """The logarithm of the field that shades an image, float64 (z, y, x).

    Args:
        log_image: Logarithm of the intensities (z, y, x), finite inside the mask.
        mask: Boolean, not empty.
        control_points: Of the splines along each axis, at one level after the other.
        iterations: At each level, at most.
        progress: Told the share of the iterations that are done, before each; what it raises ends the fit.
    """
    values, field = log_image[mask], np.zeros(log_image.shape)
    for level, points in enumerate(control_points):
        splines = Splines(mask, points)
        lattice = np.zeros((points,) * 3)
        before, added = field, field
        for done in range(iterations):
            progress((level + done / iterations) / len(control_points))
            current = values - field[mask]
            lattice += splines.fit(current - sharpened(current))
            last, added = added, splines.values(lattice)
            field = before + added
            if done and _change((added - last)[mask]) <= CONVERGED:
                break
    return field


class Splines:
    """Cubic B-splines over a grid, fitted to values inside a mask (Lee et al., IEEE Trans Vis 3:228, 1997).

    Args:
        mask: Boolean (z, y, x).
        points: Control points along each axis.
    """

    def __init__(self, mask: np.ndarray, points: int) -> None:
        self._mask = mask
        self._weights = [_basis(length, points) for length in mask.shape]
        squares = [(weights**2).sum(axis=1) for weights in self._weights]
        z, y, x = np.ix_(*squares)
        self._share = np.where(mask, 1.0 / (z * y * x), 0.0)
        self._density = _product(mask.astype(float), [weights.T**2 for weights in self._weights])

    def fit(self, values: np.ndarray) -> np.ndarray:
        """The control points that come nearest to values (flat, inside the mask); 0 where the mask does not reach."""
        spread = np.zeros(self._mask.shape)
        spread[self._mask] = values
        total = _product(spread * self._share, [weights.T**3 for weights in self._weights])
        return np.divide(total, self._density, out=np.zeros_like(total), where=self._density > 0)

    def values(self, lattice: np.ndarray) -> np.ndarray:
        """The splines of these control points on the grid, (z, y, x)."""
        return _product(lattice, self._weights)


def sharpened(values: np.ndarray) -> np.ndarray:
    """What values would be expected to be without the blur that shading puts on their histogram."""
    low = float(values.min())
    step = (float(values.max()) - low) / (BINS - 1)
    if step <= 0:
        return values
    place = (values - low) / step
    whole = np.minimum(place.astype(int), BINS - 2)
    part = place - whole
    histogram = np.bincount(whole, 1 - part, BINS) + np.bincount(whole + 1, part, BINS)
    padded = 2 ** (int(np.ceil(np.log2(BINS))) + 1)
    begin = (padded - BINS) // 2
    blur = _blur(padded, FWHM / step)
    seen = np.fft.rfft(np.pad(histogram, (begin, padded - BINS - begin)))
    wiener = (blur.conj() / (blur.conj() * blur + WIENER_NOISE)).real
    true = np.maximum(np.fft.irfft(seen * wiener, padded), 0)
    levels = low + (np.arange(padded) - begin) * step
    expected, weight = (np.fft.irfft(np.fft.rfft(part) * blur, padded) for part in (levels * true, true))
    mean = np.divide(expected, weight, out=np.zeros(padded), where=weight != 0)
    return np.interp(place, np.arange(BINS), mean[begin : begin + BINS])


def _blur(length: int, fwhm: float) -> np.ndarray:
    """The Fourier transform of a Gaussian around 0, its full width at half maximum in bins."""
    distance = np.minimum(np.arange(length), length - np.arange(length))
    gaussian = 2 * np.sqrt(np.log(2) / np.pi) / fwhm * np.exp(-4 * np.log(2) * (distance / fwhm) ** 2)
    return np.fft.rfft(gaussian)


def _basis(length: int, points: int) -> np.ndarray:
    """The share of each control point in each voxel along an axis, (length, points)."""
    pieces = points - ORDER
    at = np.arange(length) * pieces / max(length - 1, 1)
    at[-1] = max(at[-1] - END * pieces / max(length - 1, 1), 0.0)
    first = at.astype(int)
    t = at - first
    shares = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    basis = np.zeros((length, points))
    for offset, share in enumerate(shares):
        basis[np.arange(length), first + offset] = share / 6
    return basis


def _product(values: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """A volume with each axis multiplied by a matrix (rows, length of that axis)."""
    for matrix in matrices:
        values = np.tensordot(values, matrix, axes=(0, 1))  # the new axis becomes the last
    return values


def _change(difference: np.ndarray) -> float:
    factor = np.exp(difference)
    return float(factor.std(ddof=1) / factor.mean())
