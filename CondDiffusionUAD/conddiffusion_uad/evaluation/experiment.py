"""The folder of an evaluation: what was asked, and the scans that are done, so that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from conddiffusion_uad.detection.report import software
from conddiffusion_uad.evaluation import record, trial
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.settings import Settings
from conddiffusion_uad.evaluation.tasks import Show, Task, run_tasks
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import OutputFailure

DESCRIPTION = "evaluation.json"
RESULTS, SUMMARY, REPORT = "results.csv", "summary.json", "report.html"
DOSES = "dose_response.csv"  # only where lesions were implanted
_FILES = (DESCRIPTION, RESULTS, SUMMARY, REPORT, DOSES)


def open_folder(
    folder: Path, asked: Mapping[str, Any], command: str, *, noted: Sequence[str] = (), anew: bool = False
) -> None:
    """Make the folder of an evaluation, or go on in one that was begun with the same settings.

    Args:
        folder: Made if needed. What no evaluation wrote stays as it is.
        asked: What decides the figures, as JSON values.
        command: What the user typed, to be kept with it, beside earlier ones.
        noted: What was found to be known about the scans beforehand.
        anew: Whether to remove what an earlier evaluation left.

    Raises:
        OutputFailure: ``output_exists`` when files of others have the names of the results; ``other_evaluation`` when
            something else was asked of what is there; ``cannot_write``, ``disk_full``.
    """
    asked = json.loads(json.dumps({**asked, "software": software()}))  # as it would be read back
    earlier = description(folder)
    if earlier is None:
        _refuse_others(folder)
    with as_output_failure(folder):
        (folder / record.FOLDER).mkdir(parents=True, exist_ok=True)
        if anew and earlier is not None:
            _remove(folder)
            earlier = None
    if earlier is not None and any(earlier.get(key) != value for key, value in asked.items()):
        raise OutputFailure(
            "other_evaluation",
            f"{folder} holds an evaluation with other settings, another bundle or other versions of the software.",
            "Choose another --output, or give --force to replace it.",
        )
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    begun = earlier or {"date": today, "commands": [], **asked, "failures": []}
    commands = list(dict.fromkeys([*begun["commands"], command]))
    with as_output_failure(folder):
        _write(folder, {**begun, "commands": commands, "noted": list(noted)})


def description(folder: Path) -> dict[str, Any] | None:
    """What an evaluation is; None when the folder holds none."""
    try:
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "protocol" in found and "commands" in found else None


def evaluate(cases: Sequence[Case], settings: Settings, folder: Path, *, jobs: int = 1, show: Show) -> None:
    """Evaluate all scans that have no record yet. What fails is kept in the description of the evaluation.

    Args:
        cases: With ids of their own.

    Raises:
        Failure: Of the bundle, the device or the output.
    """
    wanted = settings.trials(cases)
    waiting = [each for each in wanted if record.load(folder, each.id) is None]
    tasks = [Task(each.id, partial(trial.evaluate, each, settings, folder)) for each in waiting]
    failures = run_tasks(tasks, jobs, show, len(wanted) - len(waiting))
    with as_output_failure(folder):  # failures of earlier runs were tried again
        _write(folder, {**(description(folder) or {}), "failures": [asdict(failed) for failed in failures]})


def _refuse_others(folder: Path) -> None:
    names = [name for name in _FILES if (folder / name).exists()]
    if names:
        raise OutputFailure(
            "output_exists",
            f"{folder} holds {', '.join(names)}, which no evaluation wrote.",
            "Choose another --output: only an earlier evaluation is replaced.",
        )


def _remove(folder: Path) -> None:
    record.remove_all(folder)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def _write(folder: Path, values: Mapping[str, Any]) -> None:
    partial_file = folder / f"{DESCRIPTION}.part"
    partial_file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    partial_file.replace(folder / DESCRIPTION)
