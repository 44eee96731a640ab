"""Who is trained on, who is held out for validation and calibration, and who is kept for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

SPLITS = TRAIN, HELD_OUT, TEST = "train", "held_out", "test"
TRAINED_ON = "trained_on"
"""Key in a bundle's metadata: hashes of the subjects that it, or a bundle it started from, was trained on."""


def assign(
    subjects: Sequence[str], held_out: float, test: float, *, shuffle: bool, declared: Mapping[str, str]
) -> dict[str, str]:
    """The split of each subject of one source.

    Args:
        subjects: In the order of their files; one with several files stands there several times.
        held_out: Subjects to be held out; below 1, their share.
        test: Subjects to be kept for tests; below 1, their share.
        shuffle: Whether to choose them by a hash of their names, rather than the last ones. It is the same on every
            computer, and nearly the same when subjects are added.
        declared: What a datalist says, by subject; it has precedence, and the numbers then do not apply.
    """
    unique = list(dict.fromkeys(subjects))
    if declared:
        return {subject: declared.get(subject, TRAIN) for subject in unique}
    if shuffle:
        unique.sort(key=lambda subject: hashlib.sha256(subject.encode()).digest())
    tested, kept = (round(n * len(unique)) if n < 1 else int(n) for n in (test, held_out))
    first_test = len(unique) - tested
    first_kept = max(first_test - kept, 0)
    return {
        subject: TRAIN if index < first_kept else HELD_OUT if index < first_test else TEST
        for index, subject in enumerate(unique)
    }


def without_training(assignment: Mapping[str, str]) -> dict[str, str]:
    """The split of a source that nothing is learned from: whom it would train on, it holds out."""
    return {subject: HELD_OUT if split == TRAIN else split for subject, split in assignment.items()}


def merged(assignments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """One split for each subject: who is kept from the training in one source is kept from it in all."""
    result: dict[str, str] = {}
    for assignment in assignments:
        for subject, split in assignment.items():
            result[subject] = max(split, result.get(subject, TRAIN), key=SPLITS.index)
    return result


def subject_hash(subject: str) -> str:
    """SHA-256 of a subject's name: it can be compared, and not read."""
    return hashlib.sha256(subject.encode()).hexdigest()


def digest(assignment: Mapping[str, str]) -> str:
    """SHA-256 that changes when any subject changes its split."""
    lines = sorted(f"{split}\t{subject}\n" for subject, split in assignment.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
