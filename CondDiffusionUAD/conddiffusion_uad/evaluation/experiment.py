"""The folder of an evaluation: what was asked, and the cases that are done, so that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from conddiffusion_uad.detection.report import software
from conddiffusion_uad.evaluation import record
from conddiffusion_uad.evaluation.case_run import Settings, evaluate_case
from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.tasks import Failed, Show, Task, run_tasks
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import OutputFailure

DESCRIPTION = "evaluation.json"


def open_folder(folder: Path, asked: Mapping[str, Any], command: str, *, anew: bool = False) -> None:
    """Make the folder of an evaluation, or go on in one that was begun with the same settings.

    Args:
        folder: Made if needed.
        asked: What decides the figures, as JSON values.
        command: What the user typed, to be kept with it.
        anew: Whether to remove what an earlier evaluation left.

    Raises:
        OutputFailure: ``other_evaluation`` when something else was asked of what is there; ``cannot_write``,
            ``disk_full``.
    """
    asked = json.loads(json.dumps({**asked, "software": software()}))  # as it would be read back
    with as_output_failure(folder):
        (folder / record.FOLDER).mkdir(parents=True, exist_ok=True)
        if anew:
            _empty(folder)
        earlier = description(folder)
        if earlier is None:
            today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
            _write(folder, {"date": today, "command": command, **asked, "failures": []})
    if earlier is not None and any(earlier.get(key) != value for key, value in asked.items()):
        raise OutputFailure(
            "other_evaluation",
            f"{folder} holds an evaluation with other settings, another bundle or other versions of the software.",
            "Choose another --output, or give --force to replace it.",
        )


def description(folder: Path) -> dict[str, Any] | None:
    """What an evaluation is; None when the folder holds none."""
    try:
        return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def evaluate(cases: Sequence[Case], settings: Settings, folder: Path, *, jobs: int, show: Show) -> None:
    """Evaluate all cases that have no record yet. What fails is kept in the description of the evaluation.

    Args:
        cases: With ids of their own.
        settings: How.
        folder: That :func:`open_folder` made.
        jobs: Number of processes.
        show: Told after each case.

    Raises:
        Failure: Of the bundle, the device or the output.
    """
    waiting = [case for case in cases if record.load(folder, case.id) is None]
    tasks = [Task(case.id, partial(evaluate_case, case, settings, folder)) for case in waiting]
    keep_failures(folder, run_tasks(tasks, jobs, show, len(cases) - len(waiting)))


def keep_failures(folder: Path, failures: Sequence[Failed]) -> None:
    """Write down which cases failed, in place of those that failed earlier: they were tried again."""
    with as_output_failure(folder):
        _write(folder, {**(description(folder) or {}), "failures": [asdict(failed) for failed in failures]})


def _empty(folder: Path) -> None:
    for file in (*(folder / record.FOLDER).iterdir(), *folder.glob(DESCRIPTION)):
        file.unlink()


def _write(folder: Path, values: Mapping[str, Any]) -> None:
    (folder / DESCRIPTION).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
