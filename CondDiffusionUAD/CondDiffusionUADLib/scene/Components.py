"""Connected regions of the anomaly score above any threshold, at once.

The sensitivity slider asks for the regions many times a second, and labeling a whole volume each time is too slow. So
the voxels that any threshold of the slider can reach are linked once: of all pairs of neighbors, those that form a
maximum spanning forest (the weight of a pair is its weaker score) tell which voxels are connected above every
threshold. With voxels and pairs in descending order, a threshold is a prefix of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

# One of each two opposite neighbors, of the 26 around a voxel: axes (z, y, x).
_NEIGHBORS = tuple(offset for offset in product((-1, 0, 1), repeat=3) if offset > (0, 0, 0))

_VOXELS_A_STEP = 4_000_000


@dataclass(frozen=True)
class Regions:
    """The connected regions above one threshold.

    Attributes:
        count: How many.
        labels: The region (0 .. count - 1) of each voxel of `Components.indices` that is above the threshold.
    """

    count: int
    labels: np.ndarray


@dataclass(frozen=True)
class Components:
    """The voxels from a lowest score on, and which of them are connected above any threshold.

    Attributes:
        indices: Voxel indices (z, y, x), shape (3, n), in descending order of their scores.
        scores: Their scores, float64, descending.
        pairs: Pairs of places in `indices` that form the spanning forest, shape (2, m).
        ranks: For each pair, how many voxels have to be above the threshold for the pair to be; ascending.
    """

    indices: np.ndarray
    scores: np.ndarray
    pairs: np.ndarray
    ranks: np.ndarray

    def regions(self, threshold: float) -> Regions:
        """The 26-connected regions of ``score >= threshold``; a threshold below the lowest score counts as that."""
        # In single precision, like the engine: the scores have no more.
        voxels = int(np.searchsorted(-self.scores, -float(np.float32(threshold)), side="right"))
        pairs = self.pairs[:, : int(np.searchsorted(self.ranks, voxels, side="right"))]
        return Regions(*_label(pairs, voxels))

    def placeOf(self, voxel: tuple[int, int, int]) -> int | None:
        """The place in `indices` of a voxel (z, y, x); None when its score is below the lowest."""
        found = np.flatnonzero((self.indices == np.reshape(voxel, (3, 1))).all(axis=0))
        return int(found[0]) if found.size else None


def importingSteps() -> Iterator[None]:
    """Import scipy, which takes a moment the first time, in steps: done before, a run need not do it."""
    import scipy

    yield
    import scipy.sparse

    yield
    import scipy.sparse.csgraph  # noqa: F401

    yield


def linkComponents(scores: np.ndarray, lowest: float) -> Components:
    """Link the voxels of a volume of scores, axes (z, y, x), from the score `lowest` on."""
    result: list[Components] = []
    for _ in linkingSteps(scores, lowest, result):
        pass
    return result[0]


def linkingSteps(scores: np.ndarray, lowest: float, result: list[Components]) -> Iterator[None]:
    """`linkComponents` in steps of some hundredths of a second, for a user interface that must stay responsive.

    Args:
        scores: Axes (z, y, x).
        lowest: The lowest score that will be asked for.
        result: Receives the components at the end.
    """
    yield from importingSteps()
    parts = []
    slices = max(1, _VOXELS_A_STEP // max(1, scores[0].size))
    for start in range(0, len(scores), slices):
        part = np.array(np.nonzero(scores[start : start + slices] >= lowest))
        part[0] += start
        parts.append(part)
        yield
    indices = np.concatenate(parts, axis=1)
    values = scores[tuple(indices)].astype(np.float64)
    order = np.argsort(-values, kind="stable")
    indices, values = np.ascontiguousarray(indices[:, order]), values[order]
    yield
    flat, places, shape = _lookup(indices)
    pairs, ranks = np.zeros((2, 0), np.int32), np.zeros(0)
    for dz, dy, dx in _NEIGHBORS:
        yield
        neighbors = places[flat + (dz * shape[1] + dy) * shape[2] + dx]
        here = np.flatnonzero(neighbors >= 0)
        added = np.stack([here, neighbors[here]]).astype(np.int32)
        pairs, ranks = _forest(
            np.concatenate([pairs, added], axis=1), np.concatenate([ranks, added.max(axis=0) + 1.0]), len(values)
        )
    order = np.argsort(ranks, kind="stable")
    result.append(Components(indices, values, np.ascontiguousarray(pairs[:, order]), ranks[order]))
    yield


def _lookup(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Flat indices in a box around the voxels with a free margin, the voxel at each place (-1: none), the shape."""
    if not indices.size:
        return np.zeros(0, np.intp), np.full(27, -1, np.int32), (3, 3, 3)
    low = indices.min(axis=1, keepdims=True) - 1
    shape = tuple(int(size) for size in (indices - low).max(axis=1) + 2)
    flat = np.ravel_multi_index(tuple(indices - low), shape)
    places = np.full(int(np.prod(shape)), -1, np.int32)
    places[flat] = np.arange(len(flat), dtype=np.int32)
    return flat, places, shape


def _forest(pairs: np.ndarray, ranks: np.ndarray, voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """The minimum spanning forest of pairs with these weights."""
    from scipy.sparse import csgraph

    tree = csgraph.minimum_spanning_tree(_graph(pairs, ranks, voxels)).tocoo()
    return np.stack([tree.row, tree.col]).astype(np.int32), tree.data


def _label(pairs: np.ndarray, voxels: int) -> tuple[int, np.ndarray]:
    from scipy.sparse import csgraph

    if not voxels:
        return 0, np.zeros(0, np.int32)
    return csgraph.connected_components(_graph(pairs, np.ones(pairs.shape[1], np.int8), voxels), directed=False)


def _graph(pairs: np.ndarray, weights: np.ndarray, voxels: int) -> Any:
    # Imported where it is used: scipy takes a while, and the module must open at once.
    from scipy import sparse

    return sparse.csr_matrix((weights, (pairs[0], pairs[1])), shape=(voxels, voxels))
