"""Tables of an evaluation in Markdown, for the project's own documents."""

from __future__ import annotations

from collections.abc import Sequence

from conddiffusion_uad.evaluation.reporting.table import Table


def markdown(table: Table) -> list[str]:
    """A Markdown table, the judged method in bold, and its caption; nothing without rows."""
    if not table.rows:
        return []
    lines = [_line(table.heads), "|---" * len(table.heads) + "|"]
    for number, cells in enumerate(table.rows):
        emphasis = "**" if number == table.foremost else ""
        lines.append(_line([f"{emphasis}{escaped(text)}{emphasis}" for text in cells]))
    return ["\n".join(lines), *([table.caption] if table.caption else [])]


def escaped(text: str) -> str:
    """Text that means nothing to Markdown."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
