"""Whom a bundle was trained on, as far as can be known, and which cases show the same people.

A bundle names what was held out and kept for tests, and may hold hashes of the subjects that it was trained on. With
the training data at hand, the files that its recipe took are known, too. Otherwise only names can raise a suspicion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.data.image_files import content
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.data.data_checks import grouped
from conddiffusion_uad.training.data.datalist import find, subject_in
from conddiffusion_uad.training.data.source import Source
from conddiffusion_uad.training.data.splits import TRAINED_ON, subject_hash

_IXI = "IXI"  # the only collection whose subjects' names mean the same everywhere


@dataclass(frozen=True)
class TrainedOn:
    """What is known about the training of a bundle.

    Attributes:
        bundle: Its folder.
        held_out: Names of files on which it was validated and calibrated.
        test: Names of those that its training did not look at.
        subjects: Hashes of the subjects that were trained on.
        files: Files that were trained on, by their size in bytes.
        sources: Where its recipe took data from.
        complete: Whether what is neither among the subjects nor among the files was surely not trained on: so if the
            training data are at hand and it did not start from another model.
    """

    bundle: Path
    held_out: frozenset[str]
    test: frozenset[str]
    subjects: frozenset[str]
    files: Mapping[int, Sequence[Path]] = field(default_factory=dict)
    sources: Sequence[Source] = ()
    complete: bool = False

    @classmethod
    def of(cls, bundle: Bundle, data: Path | None = None) -> TrainedOn:
        """What a bundle and, if they are at hand, its training data tell.

        Raises:
            BadInput: The training data cannot be read, or the recipe, without which they tell nothing.
        """
        held_out, test = (frozenset(bundle.metadata.get(key, ())) for key in ("held_out", "test"))
        kept = held_out | test
        subjects = frozenset(bundle.metadata.get(TRAINED_ON, ()))
        try:
            recipe = bundle.path / bundles.RECIPE
            sources = recipes.load(str(recipe)).sources if recipe.is_file() else ()
        except BadInput:  # such as one of an earlier version
            if data is not None:
                raise
            sources = ()
        if data is None or not sources:
            return cls(bundle.path, held_out, test, subjects, sources=sources)
        entries = [entry for found in find(sources, data) for entry in found if entry.file.name not in kept]
        named = {subject_hash(entry.subject) for entry in entries}
        at_hand = dict.fromkeys(entry.file for entry in entries if entry.file.is_file())
        files = grouped((file.stat().st_size, file) for file in at_hand)
        first = not (bundle.metadata.get("started_from") or bundle.metadata.get("pretrained_encoder"))
        return cls(bundle.path, held_out, test, subjects | named, files, sources, complete=first)

    @property
    def kept(self) -> frozenset[str]:
        """Names of what was not trained on."""
        return self.held_out | self.test

    def includes(self, case: Case) -> bool:
        """Whether a case shows somebody whom the bundle was surely trained on."""
        if not self.subjects.isdisjoint(subject_hash(name) for name in _names(case)):
            return True
        same_size = self.files.get(case.scan.stat().st_size, ()) if case.scan.is_file() else ()
        return any(file.name not in self.kept and content(file) == content(case.scan) for file in same_size)

    def may_include(self, case: Case) -> bool:
        """Whether names let suspect that a case was trained on, and nothing says that it was not."""
        if self.complete or not {subject_in(name) for name in self.kept}.isdisjoint(_names(case)):
            return False
        patterns = [source.files for source in self.sources if source.kind != "labels"]
        knows_ixi = not self.subjects and any(_IXI in text for text in (*self.kept, *patterns))
        of_ixi = any(name.startswith(_IXI) for name in _names(case))
        return (knows_ixi and of_ixi) or any(case.scan.match(pattern) for pattern in patterns)

    def calibrated_on(self, case: Case) -> bool:
        """Whether a case shows a subject with a name on whom the bundle was validated and calibrated."""
        return not {subject_in(name) for name in self.held_out}.isdisjoint(_names(case))


def _names(case: Case) -> set[str]:
    return {case.patient, subject_in(case.scan.name) or case.patient}
