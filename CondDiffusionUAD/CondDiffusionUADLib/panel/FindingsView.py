"""The table of findings in the panel: its rows, and which of them is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from CondDiffusionUADLib.panel.Room import layOut, roomBelow
from CondDiffusionUADLib.panel.Sensitivity import howUsual
from CondDiffusionUADLib.panel.Widgets import quiet, toolTipText
from CondDiffusionUADLib.run.Steps import timer
from CondDiffusionUADLib.scene.CandidateSegmentation import ACCEPTED_COLOR, OPEN_COLOR
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, OPEN, REJECTED
from CondDiffusionUADLib.scene.Findings import Finding
from CondDiffusionUADLib.scene.Heatmap import scoreText
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings

MOST_ROWS = 200  # a table of thousands would make the slider stick
ROW_HEIGHT = 22
FEWEST_SEEN, MOST_SEEN = 3, 8  # rows, without scrolling in the table
_FRAME = 4  # pixels of the table above and below the rows
_SPARE = 16  # pixels that Data Probe takes more while the mouse is over a view
_STATUS, _PLACE = 1, 5
_NUMBERS = (0, 2, 3, 4)


class FindingsView:
    """Shows findings as rows. The chosen one stays chosen while others come and go: it is known by its peak.

    Args:
        table: The QTableWidget.
        chosen: Called when the user chooses a row.
        sliceName: What the series calls a slice of the volume, by its number from 1 on.
    """

    def __init__(self, table: Any, chosen: Callable[[], None], sliceName: Callable[[int], str]) -> None:
        self._table = table
        self._chosen = chosen
        self._sliceName = sliceName
        self._findings: Sequence[Finding] = ()
        self._peak: Any = None
        self._fitting = timer(self._fit)
        titles = (_("No."), _("Status"), _("ml"), _("Peak"), _("Mean"), _("Place (mm)"))
        table.columnCount = len(titles)
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(_PLACE, qt.QHeaderView.Stretch)
        table.itemSelectionChanged.connect(self._onSelected)

    @property
    def finding(self) -> Finding | None:
        """The chosen finding, or None."""
        shown = self._findings[:MOST_ROWS]
        return next((finding for finding in shown if finding.peak == self._peak), None)

    def show(self, findings: Sequence[Finding]) -> None:
        """Show these findings; the chosen one stays chosen as long as it is among them."""
        self._findings = findings
        table = self._table
        with quiet(table):
            table.clearSelection()
            table.rowCount = min(len(findings), MOST_ROWS)
            for row, finding in enumerate(findings[:MOST_ROWS]):
                _fillRow(table, row, finding, describe(finding, self._sliceName(finding.slice)))
        self.choose(self.finding)
        self._fitting.start(0)  # when what stands above it is said as well

    def _fit(self) -> None:
        """Let the table end where the panel does, so that the chosen row is seen."""
        self._fitting.stop()
        if not self._table.visible:
            return
        layOut()
        room, other = roomBelow(self._table), self._table.horizontalHeader().height + _FRAME
        rows = MOST_SEEN if room is None else min(max((room - other - _SPARE) // ROW_HEIGHT, FEWEST_SEEN), MOST_SEEN)
        self._table.setFixedHeight(rows * ROW_HEIGHT + other)
        self.choose(self.finding)

    def choose(self, finding: Finding | None) -> None:
        """Choose a finding (None: leave the table without a chosen row), without telling anybody."""
        with quiet(self._table):
            if finding is None or finding.number > MOST_ROWS:
                self._table.clearSelection()
            else:
                self._peak = finding.peak
                self._table.selectRow(finding.number - 1)

    def chooseAgain(self, before: Finding | None) -> None:
        """Choose what a hand left of a finding that it took the peak of: of those that it changed, the nearest."""
        if before is not None and self.finding is None:
            edited = (finding for finding in self._findings if finding.edited)
            self.choose(min(edited, key=lambda f: math.dist(f.centerRas, before.centerRas), default=None))

    def forget(self) -> None:
        """Other findings come: none is chosen."""
        self._peak = None

    def stop(self) -> None:
        """Other findings come, or the panel goes."""
        self._fitting.stop()

    def step(self, forward: bool) -> Finding | None:
        """The finding in the next row, or in the one before; the first one when none is chosen."""
        shown, current = self._findings[:MOST_ROWS], self.finding
        if not shown:
            return None
        row = 0 if current is None else current.number - 1 + (1 if forward else -1)
        return shown[min(max(row, 0), len(shown) - 1)]

    def nextOpen(self) -> Finding | None:
        """The finding after the chosen one, or else from the first row on, that nobody has decided about yet."""
        start = self.finding.number if self.finding else 0
        shown = self._findings[:MOST_ROWS]
        return next((finding for finding in (*shown[start:], *shown[:start]) if finding.status == OPEN), None)

    def _onSelected(self) -> None:
        row = self._table.currentRow()
        if self._table.selectedItems() and 0 <= row < len(self._findings):
            self._peak = self._findings[row].peak
            self._chosen()


def notices(live: LiveFindings, promised: ExpectedFindings | None) -> str:
    """What a user should know of a result beside its table.

    Args:
        live: The findings.
        promised: Findings in healthy scans; None where nothing is promised.
    """
    said, count = list(live.notices()), len(live.selection.findings)
    if not count:
        said.insert(0, _("That nothing was found does not mean that the brain is healthy."))
        said.insert(0, howUsual(promised, live.largestScore))
    if count > MOST_ROWS:
        said.append(_("The table shows the first {count}.").format(count=MOST_ROWS))
    return " ".join(said)


def _fillRow(table: Any, row: int, finding: Finding, description: str) -> None:
    tip = toolTipText(description)
    for column, text in enumerate(_cells(finding)):
        item = qt.QTableWidgetItem(text)
        item.setToolTip(tip)
        if column in _NUMBERS:
            item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        if column == _STATUS and finding.status != REJECTED:
            color = ACCEPTED_COLOR if finding.status == ACCEPTED else OPEN_COLOR  # as its outline in the views
            item.setData(qt.Qt.DecorationRole, qt.QColor(*(round(255 * part) for part in color)))
        table.setItem(row, column, item)


def _cells(finding: Finding) -> tuple[str, ...]:
    status = {OPEN: "", ACCEPTED: _("accepted"), REJECTED: _("rejected")}[finding.status]
    return (
        str(finding.number),
        finding.segment or status,
        f"{finding.volumeMl:.2f}",
        scoreText(finding.peakScore),
        scoreText(finding.meanScore),
        place(finding.centerRas),
    )


def place(ras: tuple[float, float, float]) -> str:
    """A place as the slice views write it: the letter says the side, the number is never negative."""
    letters = (("R", "L"), ("A", "P"), ("S", "I"))
    return ", ".join(
        f"{pair[value < 0]} {abs(value):.0f}" for pair, value in zip(letters, map(round, ras), strict=True)
    )


def describe(finding: Finding, sliceName: str) -> str:
    """What the table has no column for: side, slice of the series, and whether a hand was there."""
    sides = {"right": _("right side"), "left": _("left side"), "middle": _("near the middle")}
    parts = [
        sides.get(finding.side, ""),
        _("slice {number}").format(number=sliceName) if finding.slice else "",
        _("changed by hand") if finding.edited else "",
    ]
    return ", ".join(filter(None, parts))
