"""Healthy training data, checked, prepared once, and split by subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput, OutputFailure
from conddiffusion_uad.training.data import prepared, splits
from conddiffusion_uad.training.data.cache import Cache
from conddiffusion_uad.training.data.data_checks import Problem, duplicates, fingerprint, inconsistent, leave_out
from conddiffusion_uad.training.data.datalist import Entry, find
from conddiffusion_uad.training.data.prepared import Anatomy, Scan
from conddiffusion_uad.training.data.source import Source

__all__ = ["Anatomy", "Part", "Scan", "load_corpus", "split_of"]

Log = Callable[[str], None]
Item = Anatomy | Scan


@dataclass(frozen=True)
class Part:
    """What one source contributes: data to learn from, and data kept for validation and calibration.

    Attributes:
        source: Of the recipe.
        fit: Learned from.
        held_out: Not learned from.
        test: Names of those that are not looked at at all.
        split: Which of the three each subject belongs to.
    """

    source: Source
    fit: list[Anatomy] | list[Scan]
    held_out: list[Anatomy] | list[Scan]
    test: tuple[str, ...] = ()
    split: Mapping[str, str] = field(default_factory=dict)


def load_corpus(
    sources: Sequence[Source], data: Path, grid: Grid, cache: Path, log: Log, *, skip_bad: bool = False
) -> list[Part]:
    """Find, check and prepare all sources; what is in the cache already is taken from there.

    Args:
        data: A folder or a datalist, see :func:`find`.

    Raises:
        BadInput: ``no_training_data`` when the data are missing, or a source leaves nothing to learn from;
            ``bad_datalist``; ``bad_training_data`` when files cannot be used.
        OutputFailure: ``cannot_write`` when the cache cannot be made.
    """
    found = find(sources, data)
    loader = _Loader(Cache(cache, grid), grid, log, skip_bad)
    loader.check(found)
    return _split(sources, loader.items(found), data)


def split_of(corpus: Sequence[Part]) -> Mapping[str, str]:
    """TRAIN, HELD_OUT or TEST, by subject."""
    return splits.merged(part.split for part in corpus)


class _Loader:
    """Brings files through the checks, the preparation and the cache, and collects what is wrong with them."""

    def __init__(self, cache: Cache, grid: Grid, log: Log, skip_bad: bool) -> None:
        self._cache, self._grid, self._log, self._skip_bad = cache, grid, log, skip_bad
        self._places: dict[Entry, Path] = {}
        self._shown: dict[Path, str] = {}
        self._prepared: dict[Entry, Item] = {}
        self._bad: set[Path] = set()

    def check(self, found: Sequence[Sequence[Entry]]) -> None:
        """Find out what can be found out quickly. Raises BadInput("bad_training_data")."""
        problems = inconsistent(found)
        entries = [entry for entries in found for entry in entries]
        for entry in entries:
            with _noting(problems, entry.file):
                self._places[entry] = place = self._cache.place(entry.file, entry.source)
                if known := self._cache.get(place):
                    self._prepared[entry], self._shown[entry.file] = known
        new = [entry for entry in entries if entry in self._places and entry not in self._prepared]
        if new:
            self._log(f"Checking {len(new)} files")
        for entry in new:
            with _noting(problems, entry.file):
                self._shown[entry.file] = fingerprint(entry)
        self._judge(problems + duplicates(self._shown))

    def items(self, found: Sequence[Sequence[Entry]]) -> list[list[tuple[Item, Entry]]]:
        """What the usable files of each source hold. Raises BadInput("bad_training_data")."""
        problems: list[Problem] = []
        usable = [[entry for entry in entries if entry.file not in self._bad] for entries in found]
        missing = [entry for entries in usable for entry in entries if entry not in self._prepared]
        for index, entry in enumerate(missing, start=1):
            with _noting(problems, entry.file):
                self._log(f"Preparing {entry.file.name} ({index} of {len(missing)})")
                self._prepare(entry)
        self._judge(problems)
        return [
            [
                (replace(self._prepared[entry], subject=entry.subject), entry)
                for entry in entries
                if entry.file not in self._bad
            ]
            for entries in usable
        ]

    def _prepare(self, entry: Entry) -> None:
        place = self._places[entry]
        self._cache.put(place, prepared.load(entry.file, entry.source, self._grid), self._shown[entry.file])
        stored = self._cache.get(place)
        if stored is None:
            raise OutputFailure("cannot_write", f"The cache entry {place} is damaged.", "Give another --cache.")
        self._prepared[entry] = stored[0]

    def _judge(self, problems: Sequence[Problem]) -> None:
        leave_out(problems, "training", self._log, skip_bad=self._skip_bad)
        self._bad |= {problem.file for problem in problems}


@contextmanager
def _noting(problems: list[Problem], file: Path) -> Iterator[None]:
    """Note what goes wrong with a file, instead of ending there."""
    try:
        yield
    except BadInput as failed:
        problems.append(Problem(file, failed.message))
    except (OSError, RuntimeError, ValueError) as error:
        problems.append(Problem(file, f"It cannot be used ({type(error).__name__}: {error})."))


def _split(sources: Sequence[Source], items: Sequence[Sequence[tuple[Item, Entry]]], data: Path) -> list[Part]:
    assignments = []
    for source, pairs in zip(sources, items, strict=True):
        subjects = [item.subject for item, _ in pairs]
        declared = {item.subject: entry.split for item, entry in pairs if entry.split}
        assignment = splits.assign(subjects, source.held_out, source.test, shuffle=source.shuffle, declared=declared)
        assignments.append(assignment if source.weight else splits.without_training(assignment))
    merged = splits.merged(assignments)
    parts = []
    for source, pairs in zip(sources, items, strict=True):
        by_split = {split: [item for item, _ in pairs if merged[item.subject] == split] for split in splits.SPLITS}
        if source.weight and not by_split[splits.TRAIN]:
            raise BadInput(
                "no_training_data",
                f"{data / source.files} finds {len(pairs)} scans; none is left to learn from.",
                "Check the data folder and the recipe's sources.",
            )
        own = {item.subject: merged[item.subject] for item, _ in pairs}
        test = tuple(item.name for item in by_split[splits.TEST])
        parts.append(Part(source, by_split[splits.TRAIN], by_split[splits.HELD_OUT], test, own))
    return parts
