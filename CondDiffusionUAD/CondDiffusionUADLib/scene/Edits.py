"""What a hand changed in the segmentation: voxels that were added, and voxels that were taken away.

They are kept apart from what the threshold finds, and hold whatever the threshold is: an erased voxel stays out of the
findings, a painted one stays in. So no slider loses the work of a hand.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass, field

import numpy as np

from CondDiffusionUADLib.scene.Components import Components, linkComponents

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Edits:
    """Flat voxel indices (z, y, x order), int64, sorted; no voxel is in both.

    Attributes:
        added: Voxels that belong to findings although the threshold does not say so.
        removed: Voxels that do not although it does.
    """

    added: np.ndarray = field(default_factory=lambda: NONE)
    removed: np.ndarray = field(default_factory=lambda: NONE)

    def __bool__(self) -> bool:
        return bool(self.added.size or self.removed.size)

    def then(self, before: np.ndarray, after: np.ndarray) -> Edits:
        """These, and then what a hand did: the sorted voxels before and after. This object when it did nothing."""
        came = np.setdiff1d(after, before, assume_unique=True)
        went = np.setdiff1d(before, after, assume_unique=True)
        if not came.size and not went.size:
            return self
        return Edits(
            np.setdiff1d(np.union1d(self.added, came), went, assume_unique=True),
            np.setdiff1d(np.union1d(self.removed, went), came, assume_unique=True),
        )

    def text(self) -> str:
        """The edits as text, for a node's attribute; empty when there are none."""
        return json.dumps({"added": pack(self.added), "removed": pack(self.removed)}) if self else ""

    @classmethod
    def fromText(cls, text: str, voxels: int) -> Edits:
        """What `text` gave, for a volume of so many voxels; no edits when it cannot be understood."""
        try:
            kept = json.loads(text) if text else {}
            added, removed = (unpack(str(kept[name]), voxels) if kept else NONE for name in ("added", "removed"))
        except (KeyError, TypeError, ValueError, RecursionError):
            return cls()
        return cls(added, np.setdiff1d(removed, added, assume_unique=True))


@dataclass(frozen=True)
class Parts:
    """The voxels of all regions in descending order of score.

    Attributes:
        indices: Voxel indices (z, y, x), shape (3, n).
        scores: Their scores.
        labels: The region (0 .. count - 1) of each.
        places: Their places in the components, -1 for a voxel that is in the region because a hand put it there.
        count: How many regions there are.
        drawn: Regions without any voxel above the threshold.
        touched: Regions that a hand changed.
    """

    indices: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    count: int
    drawn: frozenset[int] = frozenset()
    touched: frozenset[int] = frozenset()


class Hand:
    """Brings edits into the regions of any threshold.

    Args:
        edits: What a hand changed.
        components: Of the heatmap.
        scores: The voxels of the heatmap, axes (z, y, x).
    """

    def __init__(self, edits: Edits, components: Components, scores: np.ndarray) -> None:
        lookup = np.full(scores.size, -1, np.int32)
        lookup[np.ravel_multi_index(tuple(components.indices), scores.shape)] = np.arange(len(components.scores))
        removed = lookup[edits.removed]
        self._removed = removed[removed >= 0]
        self._indices = np.stack(np.unravel_index(edits.added, scores.shape))
        self._strokes = self._connected()
        self._scores = scores[tuple(self._indices)].astype(np.float64)
        self._places = lookup[np.ravel_multi_index(tuple(self._indices), scores.shape)]
        self._around = self._neighbors(lookup, scores.shape)

    def _connected(self) -> np.ndarray:
        """The stroke (0 ..) that each added voxel belongs to."""
        if not self._indices.size:
            return np.zeros(0, np.intp)
        box = self._indices - self._indices.min(axis=1, keepdims=True)
        volume = np.zeros(box.max(axis=1) + 1, np.float32)
        volume[tuple(box)] = 1
        linked = linkComponents(volume, 1.0)
        found = np.zeros(volume.shape, np.intp)
        found[tuple(linked.indices)] = linked.regions(1.0).labels
        return found[tuple(box)]

    def _neighbors(self, lookup: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Pairs (stroke, place in the components) of what touches."""
        most, pairs = np.array(shape)[:, None] - 1, []
        for offset in np.ndindex(3, 3, 3):
            moved = np.clip(self._indices + np.array(offset)[:, None] - 1, 0, most)
            places = lookup[np.ravel_multi_index(tuple(moved), shape)]
            pairs.append(np.stack([self._strokes, places])[:, places >= 0])
        around = np.unique(np.concatenate(pairs, axis=1), axis=1)
        return around[:, ~np.isin(around[1], self._removed)]

    def change(self, parts: Parts) -> Parts:
        """The parts with the edits."""
        voxels = len(parts.labels)
        removed = self._removed[self._removed < voxels]
        kept = np.ones(voxels, bool)
        kept[removed] = False
        touched = set(map(int, np.unique(parts.labels[removed])))
        sizes = np.bincount(parts.labels[kept], minlength=parts.count)
        extra = (self._places < 0) | (self._places >= voxels)
        labels = np.zeros(len(self._strokes), parts.labels.dtype)
        count, drawn = parts.count, set()
        reached = self._around[:, self._around[1] < voxels]
        for stroke in range(int(self._strokes.max(initial=-1)) + 1):
            regions = parts.labels[reached[1, reached[0] == stroke]]
            if regions.size:
                region = int(regions[sizes[regions].argmax()])
                touched.add(region)
            else:
                region, count = count, count + 1
                drawn.add(region)
            labels[self._strokes == stroke] = region
        scores = np.concatenate([parts.scores[kept], self._scores[extra]])
        order = np.argsort(-scores, kind="stable")
        return Parts(
            np.concatenate([parts.indices[:, kept], self._indices[:, extra]], axis=1)[:, order],
            scores[order],
            np.concatenate([parts.labels[kept], labels[extra]])[order],
            np.concatenate([parts.places[kept], np.full(int(extra.sum()), -1)])[order],
            count,
            frozenset(drawn),
            frozenset(touched | drawn),
        )


def pack(indices: np.ndarray) -> str:
    """Sorted flat indices as short text."""
    steps = np.diff(indices, prepend=0).astype("<u4")
    return base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode("ascii")


def unpack(text: str, voxels: int) -> np.ndarray:
    """What `pack` gave, for a volume of so many voxels.

    Raises:
        ValueError: It is something else.
    """
    unpacker, most = zlib.decompressobj(), 4 * voxels
    try:
        data = unpacker.decompress(base64.b64decode(text, validate=True), most + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError("no packed indices") from error
    if len(data) > most or len(data) % 4 or not unpacker.eof:
        raise ValueError("no packed indices")
    indices = np.cumsum(np.frombuffer(data, "<u4").astype(np.int64))
    if indices.size and (indices[-1] >= voxels or (np.diff(indices) <= 0).any()):
        raise ValueError("no packed indices")
    return indices
