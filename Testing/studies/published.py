"""Figures that others have published, as printed: for reference beside ours, never in one table with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A table as printed.

    Attributes:
        source: Where it stands.
        note: What a reader has to know before comparing.
        data: The test sets.
        rows: Method, then a cell for each test set.
    """

    source: str
    note: str
    data: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


BEHRENDT_2023 = Published(
    source="Behrendt et al., arXiv:2312.04215, Table 3",
    note=(
        "Dice in % / area under the precision-recall curve in %, mean and standard deviation over five trainings. The "
        "thresholds were chosen with labels, on diseased scans of the same data set. Scans were judged on a 2 mm grid "
        "without the top and the bottom of the head, after a median filter and an erosion of the brain. Scans, "
        "training and judging differ from ours: the figures are not comparable with any table above. SSL: the encoder "
        "was pretrained; ENS: three noise levels were averaged."
    ),
    data=("BraTS21 T2", "MSLUB T2", "ATLAS T1", "WMH T1"),
    rows=(
        ("Thresh (Meissen et al.)", "19.69 / 20.27", "6.21 / 4.23", "4.41 / 1.71", "9.38 / 4.72"),
        (
            "DDPM, t = 500",
            "44.25 ± 1.49 / 49.98 ± 2.41",
            "4.80 ± 1.98 / 6.36 ± 1.84",
            "12.90 ± 0.89 / 15.67 ± 0.76",
            "10.03 ± 1.06 / 8.86 ± 0.95",
        ),
        (
            "DDPM, ENS",
            "44.50 ± 2.20 / 50.73 ± 3.09",
            "6.46 ± 2.05 / 6.31 ± 1.40",
            "14.67 ± 0.86 / 17.56 ± 1.12",
            "9.63 ± 1.06 / 8.12 ± 1.17",
        ),
        (
            "cDDPM",
            "51.34 ± 1.68 / 56.84 ± 2.21",
            "10.71 ± 1.52 / 10.13 ± 1.19",
            "19.06 ± 1.27 / 20.98 ± 1.14",
            "9.94 ± 0.55 / 9.28 ± 0.42",
        ),
        (
            "cDDPM, SSL or ENS",
            "52.35 ± 0.95 / 58.14 ± 1.47",
            "11.09 ± 0.87 / 10.85 ± 1.02",
            "18.95 ± 1.94 / 20.86 ± 1.53",
            "9.92 ± 1.26 / 9.23 ± 1.08",
        ),
        (
            "cDDPM, SSL and ENS",
            "53.37 ± 1.80 / 58.84 ± 1.76",
            "11.51 ± 1.24 / 11.13 ± 1.26",
            "19.99 ± 1.55 / 22.21 ± 1.47",
            "9.88 ± 1.22 / 9.33 ± 1.07",
        ),
    ),
)
