"""Several scans in one job: a folder for each that tells where the scan is from, a table of them, and whose events."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.protocol.events import Emit, Event
from conddiffusion_uad.protocol.failures import printable

TABLE = "scans.csv"
COLUMNS = ("folder", "scan", "outcome")
_MOST_PARENTS = 4
_LONGEST = 150  # letters of a folder's name


def folder_names(inputs: Sequence[str]) -> list[str]:
    """One folder name for each of several inputs: the file's name without its suffixes.

    Where several files have one name, the folders that they lie in are put before it, as many as it takes; a number is
    put behind it where even these are the same.
    """
    names = [scan_name(path) for path in inputs]
    parents = [list(Path(path).absolute().parts[-2:0:-1]) for path in inputs]
    for depth in range(_MOST_PARENTS):
        counts = Counter(map(str.casefold, names))
        for n, name in enumerate(names):
            if counts[name.casefold()] > 1 and depth < len(parents[n]):
                names[n] = f"{parents[n][depth]}_{name}"
    unique: list[str] = []
    for name in names:
        stem = numbered = name[-_LONGEST:]
        repetition = 2
        while numbered.casefold() in map(str.casefold, unique):
            numbered, repetition = f"{stem}-{repetition}", repetition + 1
        unique.append(numbered)
    return unique


def named(emit: Emit, path: str) -> Emit:
    """Emit events that say which of several scans they are of."""

    def emitting(event: Event) -> None:
        emit({**event, "input": path} if event["event"] in ("warning", "error", "done") else event)

    return emitting


def nameless(text: str, path: str) -> str:
    """A text without the names of a scan's files: a report holds none, because file names often name patients."""
    scan = Path(path)
    names = {scan.name, scan_name(path), *(file.name for file in scan.rglob("*") if scan.is_dir())}
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(printable(name))}(?!\w)", "[file]", text)
    return text


def write_table(output: Path, outcomes: Sequence[tuple[Path, str, str]]) -> None:
    """Write which folder holds the results of which scan; lines of other folders stay.

    Args:
        output: Where these folders are.
        outcomes: Folder, path of the scan, and what came of it: "done" or the code of a failure.

    Raises:
        OutputFailure: cannot_write or disk_full.
    """
    file = output / TABLE
    with as_output_failure(output):
        lines = {}
        if file.exists():
            with file.open(encoding="utf-8", newline="") as stream:
                lines = {row["folder"]: row for row in csv.DictReader(stream) if set(row) == set(COLUMNS)}
        for folder, scan, outcome in outcomes:
            lines[folder.name] = dict(zip(COLUMNS, (folder.name, str(Path(scan).absolute()), outcome), strict=True))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines[name] for name in sorted(lines))
        output.mkdir(parents=True, exist_ok=True)
        private = file.with_suffix(".part")
        private.write_text(text.getvalue(), encoding="utf-8")
        private.replace(file)
