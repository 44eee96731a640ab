"""What is wrong with the cases of an evaluation: all of it at once, before anything takes long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.data.image_files import alike
from conddiffusion_uad.evaluation.data.label_checks import label_problems
from conddiffusion_uad.evaluation.data.trained_on import TrainedOn
from conddiffusion_uad.io.volume import Grid, read_grid
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.data_checks import Problem, grouped

_THREADS = 4  # that read files
_COMPARE = "Give its training data, to compare: --trained-on."


def problems(
    cases: Sequence[Case], trained_on: TrainedOn | None = None, *, allow_trained: bool = False
) -> list[Problem]:
    """What is wrong with cases, and what should be known about them.

    Of scans only the headers are read, of label maps, which are small, everything. So what hides among the voxels of a
    scan is found only when it is read.

    Args:
        allow_trained: Whether a case that the bundle was trained on is only noted.
    """
    found = [problem for case in cases for problem in _missing(case)]
    present = usable(cases, found)
    with ThreadPoolExecutor(_THREADS) as pool:
        scans = grouped((case.scan, case) for case in present)
        looked = dict(zip(scans, pool.map(_look, scans.values()), strict=True))
        grids = {file: seen for file, seen in looked.items() if isinstance(seen, Grid)}
        found += [seen for seen in looked.values() if isinstance(seen, Problem)]
        labeled = grouped((_meaning(case), case) for case in present if case.truth and case.scan in grids)
        found += chain.from_iterable(pool.map(lambda group: label_problems(group, grids), labeled.values()))
    found += _repeated(present)
    if trained_on:
        found += _trained(present, trained_on, allow_trained)
    return found


def usable(cases: Iterable[Case], found: Iterable[Problem]) -> list[Case]:
    """The cases that no fatal problem concerns."""
    bad = {case for problem in found if problem.fatal for case in problem.cases}
    return [case for case in cases if case not in bad]


def _meaning(case: Case) -> tuple[object, ...]:
    return case.truth, case.lesion_labels, case.ignored_labels


def _missing(case: Case) -> Iterator[Problem]:
    scan, truth = case.scan.exists(), case.truth is None or case.truth.exists()
    if scan and not truth:
        hint = "Healthy scans go into a folder of their own, or into a datalist."
        yield Problem(case.truth, "There is no such label map, but a scan.", hint, True, (case,))
    elif not scan and case.truth and truth:
        hint = "Call scans as docs/EVALUATION.md says, or write a datalist."
        yield Problem(case.truth, "There is no scan to go with this label map.", hint, True, (case,))
    elif not scan:
        yield Problem(case.scan, "There is no such file.", "Check the path and its spelling.", True, (case,))


def _look(cases: Sequence[Case]) -> Grid | Problem | None:
    """The grid of the scan that cases share, or what is wrong with its file; None of a DICOM folder."""
    scan = cases[0].scan
    if scan.is_dir():
        return None
    try:
        return read_grid(scan)
    except (BadInput, OSError) as error:
        message, hint = (error.message, error.hint) if isinstance(error, BadInput) else (f"{error}.", "")
        return Problem(scan, message, hint, True, tuple(cases))


def _repeated(cases: Sequence[Case]) -> Iterator[Problem]:
    """Scans that show the same as an earlier one: they would count twice."""
    by_scan = grouped((case.scan, case) for case in cases)
    first = {file: group[0] for group in alike(file for file in by_scan if file.is_file()) for file in group}
    for file, same in by_scan.items():
        earlier = first.get(file, file)
        again = same if earlier != file else same[1:]
        if again:
            yield Problem(file, f"It is the same scan as {earlier}.", "Leave one of them out.", True, tuple(again))


def _trained(cases: Sequence[Case], known: TrainedOn, allowed: bool) -> Iterator[Problem]:
    seen = {case for case in cases if known.includes(case)}
    suspected = {case for case in cases if case not in seen and known.may_include(case)}
    calibrated = {case for case in cases if case not in seen and known.calibrated_on(case)}
    suspicion = "The bundle may have been trained on it: its training data have such names."
    for some, message, hint, fatal in (
        (seen, "The bundle was trained on whom it shows.", "Leave it out: it tells nothing of others.", not allowed),
        (suspected, suspicion, _COMPARE, False),
        (calibrated, "The bundle was calibrated on whom it shows, and will flag too little in it.", "", False),
    ):
        for file, same in grouped((case.scan, case) for case in cases if case in some).items():
            yield Problem(file, message, hint, fatal, tuple(same))
    if not known.complete:
        message = "The bundle does not tell all whom it, or the model it started from, was trained on."
        yield Problem(known.bundle, message, "" if known.files else _COMPARE, False)
