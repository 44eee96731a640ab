"""The tables of the report and of the results document, from the values that `summary.py` documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting.summary import LABEL_FREE, ORACLE, VALIDATED
from conddiffusion_uad.evaluation.reporting.table import (
    UNKNOWN,
    Table,
    amount,
    interval,
    number,
    one_digit,
    percent,
    probability,
    ratio,
)

Values = Mapping[str, Any]
READING = (
    "Average precision is the area under the precision-recall curve; a random score has the prevalence, so the two "
    "stand side by side. The threshold of the findings is the score that a fixed share of healthy tissue exceeds; no "
    "label is needed to choose it. The baselines see the same preparation, mask and smoothing; what is flagged with "
    "them is the same share of the highest values of each brain. Intervals are 95 % bootstrap intervals over patients, "
    "given for five patients or more; p values are not corrected for the number of comparisons."
)


def title(group: Values) -> str:
    """The name of a data set and contrast."""
    return f"{group['dataset']} {group['contrast']}"


def unit(group: Values) -> str:
    """What one record of the group is."""
    return "scan" if group["dimensions"] == 3 else "slice"


def size(group: Values) -> str:
    """How many patients and scans there are: "14 patients, 14 labeled scans"."""
    kinds = ((group["labeled_scans"], "labeled"), (group["healthy_scans"], "healthy"))
    scans = " and ".join(amount(count, f"{kind} {unit(group)}") for count, kind in kinds if count)
    return f"{amount(group['patients'], 'patient')}, {scans}"


def headline(summary: Values) -> Table:
    """The judged method with its strongest baseline, a row for each data set and contrast with labels."""
    rows = tuple(_headline(group, summary["main"]) for group in _with(summary, "labeled_scans"))
    caption = (
        "Means over scans with 95 % bootstrap intervals over patients. A random score has the prevalence as its "
        "average precision. The best baseline is the one with the highest mean on these very scans; p is that of the "
        "paired permutation test over patients against it. Nobody can know the oracle's thresholds beforehand."
    )
    heads = ("Data", "Patients", "Scans", "Prevalence", "Average precision", "Best baseline", "Difference")
    return Table((*heads, f"Dice, {LABEL_FREE}", f"Dice, {ORACLE}", "Lesions found"), rows, caption)


def _headline(group: Values, main: str) -> tuple[str, ...]:
    own = group["methods"][main]
    others = {
        name: values for name, values in group["methods"].items() if name != main and _precision(values) is not None
    }
    best = max(others, key=lambda name: _precision(others[name]), default=None)
    return (
        title(group),
        str(group["patients"]),
        str(group["labeled_scans"]),
        percent(group["prevalence"]["mean"]),
        interval(own["average_precision"]),
        f"{interval(others[best]['average_precision'])} {best}" if best else UNKNOWN,
        _difference(others[best]["versus_main"]) if best else UNKNOWN,
        interval(own["dice"][LABEL_FREE]),
        interval(own["dice"][ORACLE]),
        ratio(own["lesions"]["hits"], own["lesions"]["total"]),
    )


def healthy_headline(summary: Values) -> Table:
    """What the judged method flags in healthy scans, a row for each data set and contrast."""
    main = summary["main"]
    rows = []
    for group in _with(summary, "healthy_scans"):
        values = healthy(group, main)
        rows.append((title(group), str(group["healthy_scans"]), *values.rows[values.foremost or 0][1:]))
    heads = ("Healthy scans", "Number", "Healthy brain flagged", "Findings (ml)", "With any finding")
    return Table((*heads, "Findings in each"), tuple(rows), f"Of the findings of: {main}.")


def _precision(values: Values) -> float | None:
    return values["average_precision"]["mean"]


def _difference(test: Values) -> str:
    if test["difference"] is None:
        return UNKNOWN
    return f"{test['difference']:+.3f}, {probability(test['p'])}"


def separation(group: Values, main: str) -> Table:
    """How well the methods tell lesion from healthy voxels and slices, a row for each."""

    def row(name: str, values: Values) -> tuple[str, ...]:
        return (
            name,
            percent(group["prevalence"]["mean"]),
            interval(values["average_precision"]),
            _difference(values["versus_main"]) if values["versus_main"] else UNKNOWN,
            percent(values["pooled"]["prevalence"]),
            interval(values["pooled"]["average_precision"]),
            number(values["auroc"]["mean"]),
            number(values["slice_auroc"]),
        )

    caption = (
        f"Inside the brain. Average precision is the mean over {unit(group)}s; pooled: of all their voxels together. "
        f"The two are not comparable with each other. Ahead: {main} minus the method, paired permutation test."
    )
    heads = ("Method", "Prevalence", "Average precision", f"{main.capitalize()} ahead by", "Prevalence, pooled")
    return _by_method(group, main, (*heads, "Average precision, pooled", "AUROC", "AUROC of slices"), row, caption)


def segmentation(group: Values, main: str) -> Table:
    """How well what is flagged agrees with the lesions: Dice at three thresholds, surfaces."""

    def row(name: str, values: Values) -> tuple[str, ...]:
        return (
            name,
            *(interval(values["dice"][kind]) for kind in (LABEL_FREE, VALIDATED, ORACLE)),
            interval(values["surface_dice"]),
            interval(values["hausdorff95_mm"], one_digit),
        )

    caption = (
        "Label-free: the findings at the default threshold, small ones removed; surfaces are those of these findings. "
        "Labeled validation: the threshold with the best mean Dice on the labels of the other patients (five folds). "
        "Oracle: the best threshold of each scan, which nobody can know beforehand."
    )
    kinds = (f"Dice, {kind}" for kind in (LABEL_FREE, VALIDATED, ORACLE))
    return _by_method(group, main, ("Method", *kinds, "Surface Dice", "95 % Hausdorff (mm)"), row, caption)


def lesions(group: Values, main: str) -> Table:
    """How many lesions are found at the label-free threshold, by size, and what is flagged beside them."""

    def row(name: str, values: Values) -> tuple[str, ...]:
        sizes = [ratio(size["hits"], size["total"]) for size in values["lesions"]["by_size"]]
        return (
            name,
            ratio(values["lesions"]["hits"], values["lesions"]["total"]),
            *sizes,
            interval(values["false_findings"], one_digit),
            interval(values["false_ml"], one_digit),
        )

    sizes = [size["size"] for size in group["methods"][main]["lesions"]["by_size"]]
    heads = ("Method", "Lesions found", *sizes, f"False findings per {unit(group)}", f"False ml per {unit(group)}")
    caption = (
        "At the label-free threshold. A lesion is found when a finding has a voxel in it; other findings are false."
    )
    return _by_method(group, main, heads, row, caption)


def healthy(group: Values, main: str) -> Table:
    """What is flagged in healthy scans at the label-free threshold."""

    def row(name: str, values: Values) -> tuple[str, ...]:
        flagged = values["healthy"]
        return (
            name,
            interval(flagged["flagged_fraction"], percent),
            interval(flagged["flagged_ml"], one_digit),
            interval(flagged["any_finding"], percent),
            interval(flagged["false_findings"], one_digit),
        )

    heads = ("Method", "Healthy brain flagged", "Findings (ml)", f"{unit(group).capitalize()}s with any finding")
    caption = f"{amount(group['healthy_scans'], f'healthy {unit(group)}')}. All of it is false."
    return _by_method(group, main, (*heads, f"Findings per {unit(group)}"), row, caption)


def fidelity(summary: Values) -> Table:
    """How close the reconstructions are to the scans, a row for each data set, contrast and kind of scan."""
    rows = []
    for group in summary["groups"]:
        for kind, values in group["reconstruction"].items():
            if values:
                digits = {"l1_healthy": 4, "l1_lesion": 4, "l1_ratio": 2, "ssim": 3, "psnr": 1, "histogram_kl": 3}
                figures = (interval(values[key], partial(number, digits=many)) for key, many in digits.items())
                rows.append((f"{title(group)}, {kind}", *figures))
    heads = ("Data", "l1, healthy tissue", "l1, lesion", "l1 ratio", "SSIM", "PSNR (dB)", "Histogram KL")
    caption = "Inside the brain, intensities from 0 to 1. The l1 ratio is that of lesion to healthy tissue."
    return Table(heads, tuple(rows), caption)


def cost(summary: Values) -> Table:
    """Time and memory, a row for each data set and contrast."""
    stages = ("prepare", "reconstruct", "total")
    rows = []
    for group in summary["groups"]:
        known = group["seconds"]
        figures = (one_digit(known[stage]["mean"]) if stage in known else UNKNOWN for stage in stages)
        rows.append((title(group), amount(group["scans"], unit(group)), *figures, number(group["peak_memory_mb"], 0)))
    heads = ("Data", "Amount", "Preparing (s)", "Reconstructing (s)", "Total (s)", "Peak memory (MB)")
    return Table(heads, tuple(rows), "Mean seconds for one; the highest memory of any.")


def scans(records: Sequence[Record], main: str) -> Table:
    """Every scan, the ones with the lowest average precision first, healthy ones at the end."""
    heads = ("Scan", "Prevalence", "Lesion (ml)", "Average precision", f"Dice, {LABEL_FREE}", f"Dice, {ORACLE}")
    return Table(
        (*heads, "Lesions found", "False findings", "False ml", "Healthy brain flagged", "Seconds"),
        [_scan(record, main) for record in ranked(records, main)],
    )


def _scan(record: Record, main: str) -> tuple[str, ...]:
    own = record.methods[main]
    found = sum(lesion["detected"] for lesion in own.lesions)
    return (
        record.id,
        percent(record.prevalence) if record.labeled else "healthy",
        number(record.lesion_ml, 2) if record.labeled else UNKNOWN,
        number(own.average_precision),
        number(own.dice),
        number(own.oracle_dice),
        f"{found} of {len(own.lesions)}" if own.lesions else UNKNOWN,
        str(own.false_findings),
        number(own.false_ml, 2),
        percent(own.flagged_fraction),
        one_digit(record.seconds["total"]),
    )


def ranked(records: Sequence[Record], main: str) -> list[Record]:
    """The worst first: labeled scans by average precision, then those without lesion by what is flagged in them."""

    def key(record: Record) -> tuple[bool, float]:
        own = record.methods[main]
        unknown = own.average_precision is None
        return unknown, -own.false_ml if unknown else own.average_precision

    return sorted(records, key=key)


def _with(summary: Values, kind: str) -> list[Values]:
    return [group for group in summary["groups"] if group[kind]]


def _by_method(
    group: Values, main: str, heads: Sequence[str], row: Callable[[str, Values], Sequence[str]], caption: str
) -> Table:
    rows = [row(name, values) for name, values in group["methods"].items()]
    return Table(heads, rows, caption, list(group["methods"]).index(main))


def of_group(group: Values, main: str) -> list[Table]:
    """The tables of a data set and contrast."""
    labeled = [separation, segmentation, lesions] if group["labeled_scans"] else []
    return [make(group, main) for make in (*labeled, *([healthy] if group["healthy_scans"] else []))]


def published(summary: Values) -> Table:
    """The figures by the published protocol: a row for each data set and contrast."""
    heads = ("Data", "Scans", "Patients", "Dice, %", "AUPRC, %", "Thresholds")
    caption = (
        "Dice and AUPRC: mean and standard deviation over five folds of patients; the threshold of each fold was "
        "chosen with the labels of its validation patients (a fifth). AUPRC over the whole box, background included. "
        "l1: mean absolute error inside the healthy brain; l1 ratio: that inside the lesion divided by it. Not "
        "comparable with figures of the native protocol."
    )
    rows = [_published(group) for group in summary["groups"]]
    return Table((*heads, "l1, 1e-3", "l1 ratio", "SSIM, %", "PSNR, dB"), rows, caption)


def _published(group: Values) -> tuple[str, ...]:
    def spread(values: Mapping[str, float] | None) -> str:
        return UNKNOWN if values is None else f"{values['mean']:.2f} ± {values['deviation']:.2f}"

    def scaled(name: str, factor: float) -> str:
        value = group["reconstruction"][name]
        return number(None if value is None else factor * value, 2)

    return (
        title(group),
        str(group["scans"]),
        str(group["patients"]),
        spread(group["dice"]),
        spread(group["average_precision"]),
        ", ".join(number(threshold) for threshold in group["thresholds"]) or UNKNOWN,
        scaled("l1_healthy", 1000),
        scaled("l1_ratio", 1),
        scaled("ssim", 100),
        scaled("psnr", 1),
    )
