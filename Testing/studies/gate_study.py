"""What the check of the input lets pass, warns about and refuses.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/gate_study.py --data DATA/train DATA/val --cache FIGURES

Every scan whose name tells a contrast goes through the gate, then some with simulated artifacts, and what is no such
scan at all. Figures are kept in a cache, so that a change of limits is judged in a moment.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from gate_tables import CLEAN, SEVERITIES, Row, corrupted_name, tables
from out_of_distribution import OUT_OF_DISTRIBUTION, PHANTOMS, Change

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.detection.input_check.gate import distances, judge
from conddiffusion_uad.detection.input_check.quality import Quality, measure
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS, corrupt
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.preprocessing import atlas, background, bias, normalization, resampling
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.preprocessing.preparation import Prepared, Way, part_of, prepare
from conddiffusion_uad.protocol.contrast_names import named_in
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput

NOT_SCANS = re.compile(r"seg|mask|label|tissue|truth|brain_t", re.IGNORECASE)
SAID_OF_PHANTOMS = "T1"
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """A scan of the study.

    Attributes:
        name: Unique, from its path.
        contrast: "T1", "T2" or "FLAIR".
        path: Its file.
    """

    name: str
    contrast: str
    path: Path


def find(folders: Sequence[Path]) -> Iterator[Source]:
    """The scans below some folders; a name of nothing but a contrast gets its folder's before it."""
    for folder in folders:
        for path in sorted(folder.rglob("*.nii.gz")):
            stem = path.name.removesuffix(".nii.gz")
            contrast = named_in(stem)
            if contrast and not NOT_SCANS.search(stem):
                own = stem if re.search(r"\d{3}", stem) else f"{path.parent.parent.name}-{path.parent.name}-{stem}"
                yield Source(own, contrast, path)


class Study:
    """Prepares scans and measures them, or remembers what was measured.

    Args:
        bundle: Trained model on the CPU.
        cache: Folder of figures.
    """

    def __init__(self, bundle: bundles.Bundle, cache: Path) -> None:
        self._bundle = bundle
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    def row(self, name: str, change: str, contrast: str, make: Callable[[], Prepared]) -> Row:
        """What the gate says about a scan, or a change of it, that is said to have a contrast."""
        figures = self._figures(f"{name}~{change}", make)
        if "code" in figures:
            return Row(name, change, contrast, None, figures["code"])
        quality, usual_size = Quality(**figures["quality"]), figures["usual_size"]
        found = judge(quality, figures["distances"], contrast, usual_size)
        return Row(name, change, contrast, found, usual_size=usual_size)

    def read(self, path: Path) -> Prepared:
        """Read and prepare a scan. Raises BadInput."""
        return self._prepare(volumes.read(path))

    def phantom(self, make: Callable[[], sitk.Image]) -> Prepared:
        """Make and prepare a phantom. Raises BadInput."""
        return self._prepare(make())

    def changed(self, clean: Callable[[], Prepared], change: Change) -> Prepared:
        """Make a prepared scan into something else, and prepare that. Raises BadInput."""
        return self._prepare(change(clean().way.oriented.image, orient(clean().native_mask).image))

    def corrupted(self, clean: Callable[[], Prepared], kind: str, severity: int) -> Prepared:
        """A prepared scan with an artifact; brain mask, registration and, unless it is shading, bias field stay."""
        prepared = clean()
        scan = corrupt(prepared.way.source, prepared.native_mask, kind, severity)
        oriented, mask = orient(scan), orient(prepared.native_mask).image
        leveled = background.level(oriented.image)
        field = prepared.way.corrected.field
        part = Grid.of(field)
        if kind == "bias field":
            corrected = bias.correct(leveled.image, mask, Quiet(), part)
        else:
            corrected = bias.Corrected(sitk.Cast(part_of(leveled.image, part) / field, sitk.sitkFloat32), field)
        brain = part_of(mask, part)
        normalized = normalization.normalize(corrected.image, brain)
        place = prepared.registration.to_atlas
        placed = resampling.to_grid(normalized.image, brain, self._bundle.config.grid, place)
        way = Way(scan, oriented, leveled, corrected, normalized, placed)
        return replace(prepared, volume=placed.volume, mask=placed.mask, grid=placed.grid, way=way)

    def _prepare(self, scan: sitk.Image) -> Prepared:
        return prepare(scan, grid=self._bundle.config.grid, atlas=atlas.load(), progress=Quiet())

    def _figures(self, name: str, make: Callable[[], Prepared]) -> Figures:
        file = self._cache / f"{re.sub(r'[^0-9A-Za-z~_.-]+', '_', name)}.json"
        if not file.is_file():
            print(name, file=sys.stderr, flush=True)
            try:
                prepared = make()
                figures = {
                    "quality": asdict(measure(prepared)),
                    "distances": distances(prepared, self._bundle),
                    "usual_size": prepared.registration.usual_size,
                }
            except BadInput as refused:
                figures = {"code": refused.code}
            file.write_text(json.dumps(figures), encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))


def rows(study: Study, sources: Sequence[Source], corrupted: Sequence[str], changed: Sequence[str]) -> Iterator[Row]:
    """All rows of the study.

    Args:
        study: Measures.
        sources: The scans.
        corrupted: Patterns of names of those that get artifacts.
        changed: Patterns of names of those that are made into something else.
    """
    for name, make in PHANTOMS.items():
        yield study.row("phantom", name, SAID_OF_PHANTOMS, partial(study.phantom, make))
    for source in sources:
        clean = cache(partial(study.read, source.path))
        yield study.row(source.name, CLEAN, source.contrast, clean)
        for kind in CORRUPTIONS if _matches(source.name, corrupted) else ():
            for severity in SEVERITIES:
                make = partial(study.corrupted, clean, kind, severity)
                yield study.row(source.name, corrupted_name(kind, severity), source.contrast, make)
        for name, change in OUT_OF_DISTRIBUTION.items() if _matches(source.name, changed) else ():
            yield study.row(source.name, name, source.contrast, partial(study.changed, clean, change))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--bundle", default="residual")
    add("--data", type=Path, nargs="+", required=True, metavar="DIR")
    add("--cache", type=Path, required=True, metavar="DIR", help="folder for figures; empty it when measures change")
    add("--testing", nargs="*", default=["*"], metavar="GLOB", help="names of scans that limits were not set on")
    add("--corrupted", nargs="*", default=[], metavar="GLOB", help="names of scans that get artifacts")
    add("--changed", nargs="*", default=[], metavar="GLOB", help="names of scans that are made into something else")
    options = parser.parse_args(arguments)
    study = Study(bundles.load(options.bundle), options.cache)
    found = list(rows(study, list(find(options.data)), options.corrupted, options.changed))
    print(tables(found, lambda name: _matches(name, options.testing)))


if __name__ == "__main__":
    main()
