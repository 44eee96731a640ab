"""The report of an evaluation: one HTML page with everything in it, readable without scripts and without network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conddiffusion_uad.bundle.calibration import threshold as threshold_at
from conddiffusion_uad.evaluation.reporting import html_page as page
from conddiffusion_uad.evaluation.reporting import plots, tables
from conddiffusion_uad.evaluation.reporting.tables import Table, amount, title

Values = Mapping[str, Any]
LoadPicture = Callable[[str], bytes | None]

WORST_AND_BEST = 6  # pictures of each kind in the gallery of a data set and contrast
PROTOCOLS = {
    "native": "judged on each scan's own grid, with a threshold that needs no labels",
    "paper": "as in Behrendt et al.: 2 mm grid, eroded brain mask, median filter, threshold chosen with labels",
    "robustness": "scans with simulated faults, judged as by the native protocol",
}
READING = (
    "Average precision is the area under the precision-recall curve; a random score has the prevalence, so the two "
    "stand side by side. The threshold of the findings is the score that a fixed share of healthy tissue exceeds; no "
    "label is needed to choose it. The baselines see the same preparation, mask and smoothing; what is flagged with "
    "them is the same share of the highest values of each brain. Intervals are 95 % bootstrap intervals over patients, "
    "given for five patients or more; p values are not corrected for the number of comparisons."
)


def build(about: Values, records: Sequence[Values], summary: Values, picture: LoadPicture) -> str:
    """The page.

    Args:
        about: What was asked, evaluation.json. "bundle" (with "name" and "sha256"), "protocol", "options", "software",
            "command", "date" and "failures" (each with "id", "code", "message") are shown as far as they are there.
        records: One a scan.
        summary: See :func:`conddiffusion_uad.evaluation.reporting.summary.summarize`.
        picture: The strip of a record's id as PNG; None if there is none.

    Raises:
        Failure: matplotlib is missing.
    """
    threshold = threshold_of(about)
    main = summary["main"]
    parts = [
        *_asked(about, summary),
        page.heading("Results", 2),
        page.paragraph(READING),
        *_table(tables.headline(summary)),
        *_table(tables.healthy_headline(summary)),
    ]
    for group in summary["groups"]:
        members = [record for record in records if title(record) == title(group)]
        parts += [
            page.heading(title(group), 2),
            *_group(group, members, main, threshold),
            *_gallery(members, main, picture),
        ]
    parts += [
        page.heading("Reconstruction, time and memory", 2),
        *_table(tables.fidelity(summary)),
        *_table(tables.cost(summary)),
        page.heading("All scans", 2),
        *_table(tables.scans(records, main)),
        *_troubles(about, records),
    ]
    return page.page("Evaluation of anomaly detection", parts)


def threshold_of(about: Values) -> float | None:
    """The score from which on the judged method's findings begin; None when the evaluation does not tell."""
    flagged = about.get("options", {}).get("healthy_flagged")
    return threshold_at(flagged) if flagged else None


def _asked(about: Values, summary: Values) -> list[str]:
    bundle, protocol = about.get("bundle") or {}, about.get("protocol", "")
    data = "; ".join(f"{title(g)}: {tables.size(g)}" for g in summary["groups"])
    rows = {
        "Model bundle": bundle.get("name"),
        "SHA-256 of the bundle": bundle.get("sha256"),
        "Protocol": f"{protocol}: {PROTOCOLS[protocol]}" if protocol in PROTOCOLS else protocol,
        "Data": data,
        "Methods": ", ".join(summary["methods"]),
        "Options": _listed(about.get("options", {})),
        "Command": about.get("command"),
        "Software": _listed(about.get("software", {})),
        "Date": about.get("date"),
    }
    known = [(name, str(value)) for name, value in rows.items() if value]
    return [page.heading("What was evaluated", 2), page.table(("", ""), known, words=True)]


def _listed(values: Values) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    return "; ".join(f"{name} {', '.join(v) if isinstance(v, list) else v}" for name, v in known.items())


def _table(values: Table) -> list[str]:
    if not values.rows:
        return []
    return [page.table(values.heads, values.rows, caption=values.caption, foremost=values.foremost)]


def _group(group: Values, members: Sequence[Values], main: str, threshold: float | None) -> list[str]:
    """The plots and tables of one data set and contrast."""
    parts = [page.paragraph(f"{tables.size(group)}.")]
    pictures: list[tuple[str, str]] = []
    if group["methods"][main]["pooled"]["prevalence"]:
        labeled = [record for record in members if record["labeled"]]
        pictures += [
            ("Precision over recall of all methods", plots.precision_recall(group, main)),
            ("Recall of lesions over false findings", plots.froc(group, main, threshold)),
            (
                "Average precision of each scan by method",
                plots.average_precision(labeled, list(group["methods"]), main),
            ),
            ("Distribution of scores in healthy and lesion voxels", plots.scores(group, main, threshold)),
            ("Recall of lesions by volume", plots.recall_by_size(group, main)),
        ]
    if (group["methods"][main]["curves"]["calibration"] or {}).get("score"):
        pictures.append(("Observed over expected share of flagged healthy voxels", plots.calibration(group, main)))
    if pictures:
        if group["labeled_scans"]:
            parts.append(page.legend(plots.styles(list(group["methods"]), main)))
        parts.append(page.block("plots", [page.svg_picture(svg, f"{title(group)}: {what}") for what, svg in pictures]))
    if group["labeled_scans"]:
        for values in (tables.separation, tables.segmentation, tables.lesions):
            parts += _table(values(group, main))
    if group["healthy_scans"]:
        parts += _table(tables.healthy(group, main))
    return parts


def _gallery(members: Sequence[Values], main: str, picture: LoadPicture) -> list[str]:
    """The worst scans, then the best."""
    order = tables.ranked(members, main)
    worst, rest = order[:WORST_AND_BEST], order[WORST_AND_BEST:]
    best = rest[::-1][:WORST_AND_BEST]
    parts = []
    for name, records in (("The worst, the worst first", worst), ("The best, the best first", best)):
        drawn = [(record, png) for record in records if (png := picture(record["id"]))]
        if drawn:
            strips = [page.png_picture(png, f"Pictures of {r['id']}", _strip_caption(r, main)) for r, png in drawn]
            parts += [page.heading(name, 3), page.block("strips", strips)]
    if left := len(rest) - len(best):
        parts.append(page.paragraph(f"The pictures of the other {left} lie in the folder 'cases'.", "note"))
    return parts


def _strip_caption(record: Values, main: str) -> str:
    own = record["methods"][main]
    found = f"{amount(own['false_findings'], 'false finding')} of {own['false_ml']:.2f} ml"
    if own["average_precision"] is None:
        return f"{record['id']}: {found}"
    detected = sum(lesion["detected"] for lesion in own["lesions"])
    return (
        f"{record['id']}: lesion {record['lesion_ml']:.2f} ml, average precision {own['average_precision']:.3f}, "
        f"Dice {tables.number(own['dice'])}, {detected} of {amount(len(own['lesions']), 'lesion')} found, {found}"
    )


def _troubles(about: Values, records: Sequence[Values]) -> list[str]:
    failures = [(entry["id"], entry["code"], entry["message"]) for entry in about.get("failures", ())]
    notes = [(record["id"], "note", note) for record in records for note in record["notes"]]
    parts = [page.heading("Failures and notes", 2)]
    if not failures:
        parts.append(page.paragraph("No scan failed."))
    if failures or notes:
        parts.append(page.table(("Scan", "Kind", "What happened"), failures + notes, words=True))
    return parts
