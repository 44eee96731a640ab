"""The report of an evaluation: one HTML page with everything in it, readable without scripts and without network."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import attacks, doses, missing, plots, shift_plots, shifts, tables
from conddiffusion_uad.evaluation.reporting.table import Table, amount, listed, number
from conddiffusion_uad.evaluation.settings import NATIVE, PUBLISHED
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.protocol.failures import RESEARCH_USE

Values = Mapping[str, Any]
LoadPicture = Callable[[str], bytes | None]

WORST_AND_BEST = 6  # pictures of each kind in the gallery of a data set and contrast
PROTOCOLS = {
    NATIVE: "judged on each scan's own grid, with a threshold that needs no labels",
    PUBLISHED: "as in Behrendt et al.: 2 mm grid, eroded brain mask, median filter, threshold chosen with labels",
}
_TEMPLATE = Path(__file__).with_name("report.html.j2")
_UNBROKEN = re.compile(r"\([^()]*\)|[\d.]+ %|p [<=] [\d.]+")  # in a cell with a figure, lines break around these


@dataclass(frozen=True)
class Picture:
    """An image within a page; its caption stands below."""

    description: str
    source: str
    caption: str = ""

    @classmethod
    def of(cls, kind: str, data: bytes, description: str, caption: str = "") -> Picture:
        """A picture from the bytes of a file; `kind` is "svg+xml" or "png"."""
        return cls(description, f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", caption)


def page(about: Values, records: Sequence[Record], summary: Values, picture: LoadPicture) -> str:
    """The page; all text is escaped.

    Args:
        about: What was asked, evaluation.json. "bundles" (each with "name" and "sha256"), "protocol", "options",
            "software", "commands", "date", "noted" and "failures" (each with "id", "code", "message") are shown as far
            as they are there.
        summary: See :func:`conddiffusion_uad.evaluation.reporting.summary.summarize`, or of the published protocol
            :func:`conddiffusion_uad.evaluation.protocols.published.summarize`.
        picture: The strip of a record's id as PNG; None if there is none.

    Raises:
        Failure: matplotlib or Jinja2 is missing.
    """
    clean = [record for record in records if record.corruption == CLEAN]
    failures = [(failed["id"], failed["code"], failed["message"]) for failed in about.get("failures", ())]
    notes = [(record.id, "note", note) for record in clean for note in record.notes]
    troubles = Table(("Scan", "Kind", "What happened"), failures + notes, words=True)
    native = "main" in summary
    return _template().render(
        title="Evaluation of anomaly detection",
        research_use=RESEARCH_USE,
        asked=_asked(about, records, summary),
        failed=bool(failures),
        troubles=troubles,
        **(_native(about, clean, summary, picture) if native else _published(summary)),
    )


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise missing("Jinja2") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["unbroken"] = lambda cell: _UNBROKEN.sub(_with_hard_spaces, cell)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))


def _with_hard_spaces(found: re.Match[str]) -> str:
    return found.group().replace(" ", "\N{NO-BREAK SPACE}")


def _asked(about: Values, records: Sequence[Record], summary: Values) -> Table:
    protocol = about.get("protocol", "")
    data = "; ".join(f"{tables.title(g)}: {tables.size(g)}" for g in summary["groups"] if "labeled_scans" in g)
    computed = sorted({f"{record.device}, {record.precision}" for record in records if record.device})
    rows = {
        "Model bundle": ", ".join(f"{b['name']} (SHA-256 {b['sha256']})" for b in about.get("bundles", ())),
        "Protocol": f"{protocol}: {PROTOCOLS[protocol]}" if protocol in PROTOCOLS else protocol,
        "Data": data,
        "Methods": ", ".join(summary.get("methods", ())),
        "Options": listed(about.get("options", {})),
        "Computed on": "; ".join(computed),
        "Commands": "\n".join(about.get("commands", ())),
        "To be known": "\n".join(line.strip() for line in about.get("noted", ())),
        "Software": listed(about.get("software", {})),
        "Begun": about.get("date"),
    }
    return Table(("", ""), [(name, str(value)) for name, value in rows.items() if value], words=True)


def _published(summary: Values) -> Values:
    return {"reading": "", "headlines": [tables.published(summary)], "sections": [], "further": []}


def _native(about: Values, records: Sequence[Record], summary: Values, picture: LoadPicture) -> Values:
    main = summary["main"]
    sections = []
    for group in summary["groups"]:
        members = [r for r in records if (r.dataset, r.contrast) == (group["dataset"], group["contrast"])]
        sections.append(_section(group, members, main) | _strips(members, main, picture))
    further = [
        ("Reconstruction, time and memory", [tables.fidelity(summary), tables.cost(summary)]),
        ("All scans", [tables.scans(records, main)]),
    ]
    headlines = [tables.headline(summary), tables.healthy_headline(summary)]
    return {"reading": tables.READING, "headlines": headlines, "sections": sections, "further": further}


def _section(group: Values, members: Sequence[Record], main: str) -> dict[str, Any]:
    """The plots and tables of one data set and contrast."""
    title = tables.title(group)
    drawn = list(_plots(group, members, main))
    shifted = shift_plots.curves(group)
    return {
        "title": title,
        "size": tables.size(group),
        "legend": plots.styles(list(group["methods"]), main) if (drawn and group["labeled_scans"]) or shifted else {},
        "plots": [Picture.of("svg+xml", svg.encode(), f"{title}: {what}") for what, svg in drawn],
        "tables": tables.of_group(group, main),
        "changed": [
            ("Changed scans", shifts.READING, shifts.table(group)),
            ("Implanted lesions", doses.READING, doses.table(group)),
            ("Worst cases", attacks.READING, attacks.table(group)),
        ],
        "shift_plot": shifted
        and Picture.of("svg+xml", shifted.encode(), f"{title}: figures by corruption", shift_plots.CAPTION),
    }


def _plots(group: Values, members: Sequence[Record], main: str) -> Iterator[tuple[str, str]]:
    if group["methods"][main]["pooled"]["prevalence"]:
        labeled, methods = [record for record in members if record.labeled], list(group["methods"])
        yield "Precision over recall of all methods", plots.precision_recall(group, main)
        yield "Recall of lesions over false findings", plots.froc(group, main)
        yield "Average precision of each scan by method", plots.average_precision(labeled, methods, main)
        yield "Distribution of scores in healthy and lesion voxels", plots.scores(group, main)
        yield "Recall of lesions by volume", plots.recall_by_size(group, main)
    if (group["methods"][main]["curves"]["calibration"] or {}).get("score"):
        yield "Observed over expected share of flagged healthy voxels", plots.calibration(group, main)


def _strips(members: Sequence[Record], main: str, picture: LoadPicture) -> dict[str, Any]:
    """Pictures of the worst scans, then of the best."""
    order = tables.ranked(members, main)
    rest = order[WORST_AND_BEST:][::-1]
    shown = {
        name: [
            Picture.of("png", png, f"Pictures of {record.id}", _strip_caption(record, main))
            for record in records
            if (png := picture(record.id))
        ]
        for name, records in (
            ("The worst, the worst first", order[:WORST_AND_BEST]),
            ("The best, the best first", rest[:WORST_AND_BEST]),
        )
    }
    return {"strips": [each for each in shown.items() if each[1]], "left": len(rest[WORST_AND_BEST:])}


def _strip_caption(record: Record, main: str) -> str:
    own = record.methods[main]
    found = f"{amount(own.false_findings, 'false finding')} of {own.false_ml:.2f} ml"
    if own.average_precision is None:
        return f"{record.id}: {found}"
    detected = sum(lesion["detected"] for lesion in own.lesions)
    return (
        f"{record.id}: lesion {record.lesion_ml:.2f} ml, average precision {own.average_precision:.3f}, "
        f"Dice {number(own.dice)}, {detected} of {amount(len(own.lesions), 'lesion')} found, {found}"
    )
