"""The tables of the report and of the results document, from the values that `summary.py` documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
Columns = Mapping[str, Callable[[Any], str]]
READING = (
    "Average precision is the area under the precision-recall curve; a random score has the prevalence, so the two "
    "stand side by side. The threshold of the findings is that of a detection, or the score that the share of healthy "
    "tissue asked for exceeds; no label is needed to choose it. The baselines see the same preparation, mask and "
    "smoothing; what is flagged with them is that share of the highest values of each brain, 1 % unless asked for. "
    "Intervals are 95 % bootstrap intervals over patients, "
    "given for five patients or more; p values are not corrected for the number of comparisons."
)


def title(group: Values) -> str:
    """The name of a data set and contrast."""
    return f"{group['dataset']} {group['contrast']}"


def size(group: Values) -> str:
    """How many patients and scans there are: "14 patients, 14 labeled scans"."""
    kinds = ((group["labeled_scans"], "labeled scan"), (group["healthy_scans"], "healthy scan"))
    scans = " and ".join(amount(count, kind) for count, kind in kinds if count)
    return f"{amount(group['patients'], 'patient')}, {scans}"


def _table(items: Iterable[Any], columns: Columns, caption: str) -> Table:
    return Table(list(columns), [[cell(item) for cell in columns.values()] for item in items], caption)


def _by_method(group: Values, main: str, columns: Columns, caption: str) -> Table:
    """A row for each method; the functions of the columns take its figures."""
    rows = [[name, *(cell(values) for cell in columns.values())] for name, values in group["methods"].items()]
    return Table(["Method", *columns], rows, caption, list(group["methods"]).index(main))


def headline(summary: Values) -> Table:
    """The judged method with its strongest baseline, a row for each data set and contrast with labels."""
    main = summary["main"]

    def own(group: Values) -> Values:
        return group["methods"][main]

    def rival(group: Values, cell: Callable[[str, Values], str]) -> str:
        means = {name: values["average_precision"]["mean"] for name, values in group["methods"].items()}
        known = [name for name in means if name != main and means[name] is not None]
        best = max(known, key=lambda name: means[name], default=None)
        return cell(best, group["methods"][best]) if best else UNKNOWN

    columns: Columns = {
        "Data": title,
        "Patients": lambda group: str(group["patients"]),
        "Scans": lambda group: str(group["labeled_scans"]),
        "Prevalence": lambda group: percent(group["prevalence"]["mean"]),
        "Average precision": lambda group: interval(own(group)["average_precision"]),
        "Best baseline": lambda group: rival(group, lambda name, of: f"{interval(of['average_precision'])} {name}"),
        "Difference": lambda group: rival(group, lambda _, of: _difference(of["versus_main"])),
        f"Dice, {LABEL_FREE}": lambda group: interval(own(group)["dice"][LABEL_FREE]),
        f"Dice, {ORACLE}": lambda group: interval(own(group)["dice"][ORACLE]),
        "Lesions found": lambda group: ratio(own(group)["lesions"]["hits"], own(group)["lesions"]["total"]),
    }
    caption = (
        "Means over scans with 95 % bootstrap intervals over patients. A random score has the prevalence as its "
        "average precision. The best baseline is the one with the highest mean on these very scans; p is that of the "
        "paired permutation test over patients against it. Nobody can know the oracle's thresholds beforehand."
    )
    return _table((group for group in summary["groups"] if group["labeled_scans"]), columns, caption)


def _difference(test: Values | None) -> str:
    known = test is not None and test["difference"] is not None
    return f"{test['difference']:+.3f}, {probability(test['p'])}" if known else UNKNOWN


_THRESHOLD: Columns = {"Threshold": lambda of: number(of["threshold"])}
_FLAGGED: Columns = {
    "Healthy brain flagged": lambda of: interval(of["healthy"]["flagged_fraction"], percent),
    "Findings (ml)": lambda of: interval(of["healthy"]["flagged_ml"], one_digit),
    "Scans with any finding": lambda of: interval(of["healthy"]["any_finding"], percent),
    "Findings per scan": lambda of: interval(of["healthy"]["false_findings"], one_digit),
}


def healthy_headline(summary: Values) -> Table:
    """What the judged method flags in healthy scans, a row for each data set and contrast."""
    main = summary["main"]
    columns: Columns = {"Healthy scans": title, "Number": lambda group: str(group["healthy_scans"])}
    flagged = {head: lambda group, cell=cell: cell(group["methods"][main]) for head, cell in _FLAGGED.items()}
    groups = (group for group in summary["groups"] if group["healthy_scans"])
    return _table(groups, {**columns, **flagged}, f"Of the findings of: {main}.")


def healthy(group: Values, main: str) -> Table:
    """What is flagged in healthy scans at the label-free threshold."""
    caption = f"{amount(group['healthy_scans'], 'healthy scan')}. All of it is false."
    return _by_method(group, main, {**_THRESHOLD, **_FLAGGED}, caption)


def separation(group: Values, main: str) -> Table:
    """How well the methods tell lesion from healthy voxels and slices, a row for each."""
    columns: Columns = {
        "Prevalence": lambda of: percent(group["prevalence"]["mean"]),
        "Average precision": lambda of: interval(of["average_precision"]),
        f"{main.capitalize()} ahead by": lambda of: _difference(of["versus_main"]),
        "Prevalence, pooled": lambda of: percent(of["pooled"]["prevalence"]),
        "Average precision, pooled": lambda of: interval(of["pooled"]["average_precision"]),
        "AUROC": lambda of: number(of["auroc"]["mean"]),
        "AUROC of slices": lambda of: number(of["slice_auroc"]),
    }
    caption = (
        "Inside the brain. Average precision is the mean over scans; pooled: of all their voxels together. The two are "
        f"not comparable with each other. Ahead: {main} minus the method, paired permutation test."
    )
    return _by_method(group, main, columns, caption)


def segmentation(group: Values, main: str) -> Table:
    """How well what is flagged agrees with the lesions: Dice at three thresholds, surfaces."""
    kinds = (LABEL_FREE, VALIDATED, ORACLE)
    columns: Columns = {
        **_THRESHOLD,
        **{f"Dice, {kind}": lambda of, kind=kind: interval(of["dice"][kind]) for kind in kinds},
        "Surface Dice": lambda of: interval(of["surface_dice"]),
        "95 % Hausdorff (mm)": lambda of: interval(of["hausdorff95_mm"], one_digit),
    }
    caption = (
        "Label-free: the findings at the default threshold, small ones removed; surfaces are those of these findings. "
        "Labeled validation: the threshold with the best mean Dice on the labels of the other patients (five folds). "
        "Oracle: the best threshold of each scan, which nobody can know beforehand."
    )
    return _by_method(group, main, columns, caption)


def lesions(group: Values, main: str) -> Table:
    """How many lesions are found at the label-free threshold, by size, and what is flagged beside them."""

    def of_size(of: Values, place: int) -> str:
        found = of["lesions"]["by_size"][place]
        return ratio(found["hits"], found["total"])

    sizes = [size["size"] for size in group["methods"][main]["lesions"]["by_size"]]
    columns: Columns = {
        "Lesions found": lambda of: ratio(of["lesions"]["hits"], of["lesions"]["total"]),
        **{name: partial(of_size, place=place) for place, name in enumerate(sizes)},
        "False findings per scan": lambda of: interval(of["false_findings"], one_digit),
        "False ml per scan": lambda of: interval(of["false_ml"], one_digit),
    }
    caption = (
        "At the label-free threshold. A lesion is found when a finding has a voxel in it; other findings are false."
    )
    return _by_method(group, main, columns, caption)


def of_group(group: Values, main: str) -> list[Table]:
    """The tables of a data set and contrast."""
    labeled = [separation, segmentation, lesions] if group["labeled_scans"] else []
    return [make(group, main) for make in (*labeled, *([healthy] if group["healthy_scans"] else []))]


def fidelity(summary: Values) -> Table:
    """How close the reconstructions are to the scans, a row for each data set, contrast and kind of scan."""
    figures = {
        "l1, healthy tissue": ("l1_healthy", 4),
        "l1, lesion": ("l1_lesion", 4),
        "l1 ratio": ("l1_ratio", 2),
        "SSIM": ("ssim", 3),
        "PSNR (dB)": ("psnr", 1),
        "Histogram KL": ("histogram_kl", 3),
        "AUROC of slices, latent": ("latent_auroc", 3),
    }
    rows = [
        [f"{title(group)}, {kind}", *(interval(of[key], partial(number, digits=n)) for key, n in figures.values())]
        for group in summary["groups"]
        for kind, of in group["reconstruction"].items()
        if of
    ]
    caption = (
        "Inside the brain, intensities from 0 to 1. The l1 ratio is that of lesion to healthy tissue. The latent AUROC "
        "tells how well slices with lesion are told from others of the same scan by how far, in the eyes of the "
        "bundle's encoder, they are from their reconstructions; 0.5 is chance."
    )
    return Table(["Data", *figures], rows, caption)


def cost(summary: Values) -> Table:
    """Time and memory, a row for each data set and contrast."""

    def seconds(group: Values, stage: str) -> str:
        return one_digit(group["seconds"][stage]["mean"]) if stage in group["seconds"] else UNKNOWN

    columns: Columns = {
        "Data": title,
        "Amount": lambda group: amount(group["scans"], "scan"),
        "Preparing (s)": partial(seconds, stage="prepare"),
        "Reconstructing (s)": partial(seconds, stage="reconstruct"),
        "Total (s)": partial(seconds, stage="total"),
        "Peak memory (MB)": lambda group: number(group["peak_memory_mb"], 0),
    }
    return _table(summary["groups"], columns, "Mean seconds for one; the highest memory of any.")


def scans(records: Sequence[Record], main: str) -> Table:
    """Every scan, the ones with the lowest average precision first, healthy ones at the end."""

    def found(record: Record) -> str:
        every = record.methods[main].lesions
        return f"{sum(lesion['detected'] for lesion in every)} of {len(every)}" if every else UNKNOWN

    columns: Columns = {
        "Scan": lambda record: record.id,
        "Prevalence": lambda record: percent(record.prevalence) if record.labeled else "healthy",
        "Lesion (ml)": lambda record: number(record.lesion_ml, 2) if record.labeled else UNKNOWN,
        "Average precision": lambda record: number(record.methods[main].average_precision),
        f"Dice, {LABEL_FREE}": lambda record: number(record.methods[main].dice),
        f"Dice, {ORACLE}": lambda record: number(record.methods[main].oracle_dice),
        "Lesions found": found,
        "False findings": lambda record: str(record.methods[main].false_findings),
        "False ml": lambda record: number(record.methods[main].false_ml, 2),
        "Healthy brain flagged": lambda record: percent(record.methods[main].flagged_fraction),
        "Seconds": lambda record: one_digit(record.seconds["total"]),
    }
    return _table(ranked(records, main), columns, "")


def ranked(records: Sequence[Record], main: str) -> list[Record]:
    """The worst first: labeled scans by average precision, then those without lesion by what is flagged in them."""

    def key(record: Record) -> tuple[bool, float]:
        own = record.methods[main]
        unknown = own.average_precision is None
        return unknown, -own.false_ml if unknown else own.average_precision

    return sorted(records, key=key)


def published(summary: Values) -> Table:
    """The figures by the published protocol: a row for each data set and contrast."""

    def spread(values: Mapping[str, float] | None) -> str:
        return UNKNOWN if values is None else f"{values['mean']:.2f} ± {values['deviation']:.2f}"

    def scaled(group: Values, name: str, factor: float) -> str:
        value = group["reconstruction"][name]
        return number(None if value is None else factor * value, 2)

    columns: Columns = {
        "Data": title,
        "Scans": lambda group: str(group["scans"]),
        "Patients": lambda group: str(group["patients"]),
        "Dice, %": lambda group: spread(group["dice"]),
        "AUPRC, %": lambda group: spread(group["average_precision"]),
        "Thresholds": lambda group: ", ".join(number(threshold) for threshold in group["thresholds"]) or UNKNOWN,
        "l1, 1e-3": partial(scaled, name="l1_healthy", factor=1000),
        "l1 ratio": partial(scaled, name="l1_ratio", factor=1),
        "SSIM, %": partial(scaled, name="ssim", factor=100),
        "PSNR, dB": partial(scaled, name="psnr", factor=1),
    }
    caption = (
        "Dice and AUPRC: mean and standard deviation over five folds of patients; the threshold of each fold was "
        "chosen with the labels of its validation patients (a fifth). AUPRC over the whole box, background included. "
        "l1: mean absolute error inside the healthy brain; l1 ratio: that inside the lesion divided by it. Not "
        "comparable with figures of the native protocol."
    )
    return _table(summary["groups"], columns, caption)
