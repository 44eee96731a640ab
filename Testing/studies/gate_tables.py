"""The figures of the check of the input as Markdown tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from out_of_distribution import OUT_OF_DISTRIBUTION, PHANTOMS

from conddiffusion_uad.detection.input_check.gate import LIMITS, PASS, REFUSE, WARN, Assessment, judge
from conddiffusion_uad.evaluation.metrics.score_counts import auroc
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS
from conddiffusion_uad.protocol.job import CONTRASTS

CLEAN = "as it is"
SEVERITIES = (1, 3, 5)
ODD_SIZE = "warned before of the size"


@dataclass(frozen=True)
class Row:
    """What the gate said.

    Attributes:
        name: Of the scan.
        change: CLEAN, an artifact and its severity, or what was made of it.
        contrast: What it was said to be.
        assessment: None when an earlier step refused it.
        code: Of that refusal.
        usual_size: Whether the header gives the brain a usual size; if not, an earlier step warned of it.
    """

    name: str
    change: str
    contrast: str
    assessment: Assessment | None
    code: str = ""
    usual_size: bool = True

    @property
    def verdict(self) -> str:
        """PASS, WARN or REFUSE."""
        return self.assessment.verdict if self.assessment else REFUSE

    @property
    def reasons(self) -> list[str]:
        """Codes of what is wrong."""
        return [concern.code for concern in self.assessment.concerns] if self.assessment else [self.code]

    @property
    def deviation(self) -> float:
        """See :class:`Assessment`; infinite when an earlier step refused it."""
        return self.assessment.deviation if self.assessment else np.inf


def corrupted_name(kind: str, severity: int) -> str:
    """What a change is called that an artifact made."""
    return f"{kind}, severity {severity}"


def tables(rows: Sequence[Row], testing: Callable[[str], bool]) -> str:
    """All tables; ``testing`` says which scans the limits were not set on."""
    clean = [row for row in rows if row.change == CLEAN]
    parts = [clean_table(clean, testing), figures_table(clean), said_table(clean)]
    parts += [corruption_table(rows), out_of_distribution_table(rows)]
    return "\n\n".join(parts)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    shown = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in shown)


def _counts(rows: Sequence[Row]) -> list[str]:
    count = Counter(row.verdict for row in rows)
    reasons = Counter(reason.removeprefix("quality_") for row in rows for reason in row.reasons)
    told = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    odd_size = sum(not row.usual_size for row in rows)
    return [str(len(rows)), *(str(count[verdict]) for verdict in (PASS, WARN, REFUSE)), told, str(odd_size or "")]


def clean_table(clean: Sequence[Row], testing: Callable[[str], bool]) -> str:
    """Verdicts on scans as they are, by contrast, and by whether limits were set on them."""
    lines = []
    for use, wanted in (("setting", False), ("testing", True)):
        for contrast in CONTRASTS:
            chosen = [row for row in clean if testing(row.name) == wanted and row.contrast == contrast]
            if chosen:
                lines.append([use, contrast, *_counts(chosen)])
    heads = ["scans for", "contrast", "scans", PASS, WARN, REFUSE, "reasons", ODD_SIZE]
    return _table(heads, [*lines, ["all", "", *_counts(clean)]])


def figures_table(clean: Sequence[Row]) -> str:
    """Range of each figure over the scans as they are, beside its limits."""
    lines = []
    for limit in LIMITS:
        chosen = [row for row in clean if limit.contrast in (None, row.contrast)]
        values = [value for row in chosen if (value := _figure(row, limit.figure)) is not None]
        if not values:
            continue
        name = f"{limit.figure}, {limit.contrast}" if limit.contrast else limit.figure
        low, middle, high = (f"{value:.3f}" for value in np.percentile(values, [0, 50, 100]))
        refuse = "" if limit.refuse is None else f"{limit.refuse:g}"
        lines.append([name, str(len(values)), low, middle, high, f"{limit.warn:g}", refuse])
    return _table(["figure", "scans", "least", "median", "most", "warned from", "refused from"], lines)


def _figure(row: Row, name: str) -> float | None:
    if row.assessment is None:
        return None
    return row.assessment.distances.get(row.contrast) if name == "distance" else getattr(row.assessment.quality, name)


def said_table(clean: Sequence[Row]) -> str:
    """Verdicts on scans as they are that are said to have each contrast, and what they look like."""
    lines = []
    for contrast in CONTRASTS:
        chosen = [(row.assessment, row.usual_size) for row in clean if row.contrast == contrast and row.assessment]
        seen = Counter(found.estimate.contrast or "unclear" for found, _ in chosen)
        entries = [", ".join(f"{name} {number}" for name, number in seen.most_common())]
        for said in CONTRASTS:
            count = Counter(judge(found.quality, found.distances, said, usual).verdict for found, usual in chosen)
            entries.append(" / ".join(str(count[verdict]) for verdict in (PASS, WARN, REFUSE)))
        lines.append([contrast, str(len(chosen)), *entries])
    heads = [f"said to be {said}: {PASS} / {WARN} / {REFUSE}" for said in CONTRASTS]
    return _table(["contrast", "scans", "looks like", *heads], lines)


def corruption_table(rows: Sequence[Row]) -> str:
    """Of each artifact: AUROC of the deviation against the same scans as they are, and the share that is not passed."""
    lines = []
    for kind in CORRUPTIONS:
        entries = [kind]
        for severity in SEVERITIES:
            chosen = [row for row in rows if row.change == corrupted_name(kind, severity)]
            if not chosen:
                entries.append("")
                continue
            names = {row.name for row in chosen}
            clean = [row for row in rows if row.change == CLEAN and row.name in names]
            truth = np.repeat([0, 1], [len(clean), len(chosen)])
            area = auroc(np.array([row.deviation for row in [*clean, *chosen]]), truth)
            told = np.mean([row.verdict != PASS for row in chosen])
            entries.append(f"{area:.2f} ({told:.0%})")
        lines.append(entries)
    return _table(["artifact", *(f"severity {severity}" for severity in SEVERITIES)], lines)


def out_of_distribution_table(rows: Sequence[Row]) -> str:
    """Verdicts on what is no such scan at all."""
    lines = []
    for change in (*PHANTOMS, *OUT_OF_DISTRIBUTION):
        chosen = [row for row in rows if row.change == change]
        if chosen:
            lines.append([change, *_counts(chosen)])
    return _table(["made from scans", "tried", PASS, WARN, REFUSE, "reasons", ODD_SIZE], lines)
