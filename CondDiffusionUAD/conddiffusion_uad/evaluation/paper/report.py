"""The report of an evaluation by the published protocol, apart from any other figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation import experiment
from conddiffusion_uad.evaluation.paper.run import RESULTS
from conddiffusion_uad.evaluation.reporting import html_page
from conddiffusion_uad.evaluation.reporting.formatting import UNKNOWN, number
from conddiffusion_uad.evaluation.reporting.report import REPORT
from conddiffusion_uad.evaluation.reporting.tables import Table
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import BadInput

HEADS = (
    "Data",
    "Scans",
    "Patients",
    "Dice, %",
    "AUPRC, %",
    "Thresholds",
    "l1, 1e-3",
    "l1 ratio",
    "SSIM, %",
    "PSNR, dB",
)
CAPTION = (
    "Dice and AUPRC: mean and standard deviation over five folds of patients; the threshold of each fold was chosen "
    "with the labels of its validation patients (a fifth). AUPRC over the whole box, background included. l1: mean "
    "absolute error inside the healthy brain; l1 ratio: that inside the lesion divided by it. Not comparable with "
    "figures of the native protocol."
)


def report(folder: Path) -> str:
    """Write report.html.

    Returns:
        The figures, as lines of text.

    Raises:
        BadInput: ``no_cases`` when there are no figures.
        OutputFailure: The file cannot be written.
    """
    try:
        found = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput("no_cases", f"There are no figures in {folder}.", "Evaluate first.") from error
    about = experiment.description(folder) or {}
    made = table(found)
    names = ", ".join(f"{each['name']} (SHA-256 {each['sha256'][:12]})" for each in about.get("bundles", []))
    parts = [
        html_page.paragraph(f"Protocol of Behrendt et al., arXiv:2312.04215, with {names}. {about.get('date', '')}"),
        html_page.paragraph(str(about.get("command", ""))),
        html_page.table(made.heads, made.rows, caption=made.caption),
        *(html_page.paragraph(f"{each['id']}: {each['message']}") for each in about.get("failures", [])),
    ]
    with as_output_failure(folder):
        (folder / REPORT).write_text(html_page.page("Evaluation, published protocol", parts), encoding="utf-8")
    lines = [", ".join(f"{h}: {c}" for h, c in zip(made.heads, row, strict=True)) for row in made.rows]
    return "\n".join([*lines, str(folder / REPORT)])


def table(found: Mapping[str, Any]) -> Table:
    """The figures of ``paper.json``: a row for each data set and contrast."""
    return Table(HEADS, tuple(_row(group) for group in found["groups"]), CAPTION)


def _row(group: Mapping[str, Any]) -> Sequence[str]:
    fidelity = group["reconstruction"]
    return (
        f"{group['dataset']} {group['contrast']}",
        str(group["scans"]),
        str(group["patients"]),
        _spread(group["dice"]),
        _spread(group["average_precision"]),
        ", ".join(number(threshold) for threshold in group["thresholds"]) or UNKNOWN,
        number(fidelity["l1_healthy"] and 1000 * fidelity["l1_healthy"], 2),
        number(fidelity["l1_ratio"], 2),
        number(fidelity["ssim"] and 100 * fidelity["ssim"], 2),
        number(fidelity["psnr"], 2),
    )


def _spread(values: Mapping[str, float] | None) -> str:
    return UNKNOWN if values is None else f"{values['mean']:.2f} ± {values['deviation']:.2f}"
