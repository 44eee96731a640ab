"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from conddiffusion_uad.evaluation.reporting.tables import Table


def markdown(values: Table) -> list[str]:
    """A Markdown table, the judged method in bold, and its caption."""
    if not values.rows:
        return []
    rows = [_row(values.heads), "|---" * len(values.heads) + "|"]
    for number, cells in enumerate(values.rows):
        emphasis = "**" if number == values.foremost else ""
        rows.append(_row([f"{emphasis}{cell(text)}{emphasis}" for text in cells]))
    return ["\n".join(rows), values.caption] if values.caption else ["\n".join(rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def cell(text: str) -> str:
    """Text that means nothing to Markdown."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
