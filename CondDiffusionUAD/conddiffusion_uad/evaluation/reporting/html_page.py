"""The parts of a self-contained HTML page: shell, tables, pictures. All text that is passed is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

from conddiffusion_uad.evaluation.reporting.plots import Style
from conddiffusion_uad.protocol.failures import RESEARCH_USE

_UNBROKEN = re.compile(r"\([^()]*\)|[\d.]+ %|p [<=] [\d.]+")  # in a cell with a figure, lines break around these
_STYLE = """
body { font: 15px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 1240px; margin: 0 auto; padding: 16px 24px; }
h1 { font-size: 26px; margin: 16px 0 4px; }
h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 12px; border-top: 2px solid #0072b2; }
h3 { font-size: 16px; margin: 24px 0 6px; }
p { max-width: 80ch; margin: 6px 0; }
.statement { border: 1px solid #d55e00; border-left-width: 6px; padding: 6px 12px; font-weight: 600; max-width: none; }
.note, figcaption, caption { color: #555; font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; margin: 8px 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; caption-side: bottom; padding-top: 4px; max-width: 100ch; }
th, td { padding: 4px 9px; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th { border-bottom: 2px solid #999; vertical-align: bottom; font-weight: 600; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
tr.foremost td { font-weight: 600; background: #eef5fa; }
.words td { overflow-wrap: anywhere; } td:first-child { white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(370px, 1fr)); gap: 12px; margin: 8px 0; }
figure { margin: 0; break-inside: avoid; }
.plots img { width: 100%; height: auto; }
.strips figure { margin: 10px 0; }
.strips img { max-width: 100%; height: auto; display: block; }
.legend span { display: inline-block; margin-right: 18px; white-space: nowrap; font-size: 13px; }
.legend svg { vertical-align: middle; margin-right: 5px; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  body { font-size: 11px; max-width: none; padding: 0; }
  table { font-size: 9px; } th, td { padding: 2px 5px; }
  tr { break-inside: avoid; } thead { display: table-header-group; }
  h2, h3 { break-after: avoid; } .scroll { overflow: visible; }
  .plots { grid-template-columns: repeat(3, 1fr); }
}
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page from parts that are HTML; the statement of research use is on top and at the bottom."""
    statement = paragraph(f"{RESEARCH_USE}.", "statement")
    body = "\n".join([statement, f"<h1>{escape(title)}</h1>", *parts, statement])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def heading(text: str, level: int) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    foremost: int | None = None,
    words: bool = False,
) -> str:
    """A table.

    Args:
        heads: Of the columns.
        rows: Their cells.
        caption: Below the table.
        foremost: Row to emphasize.
        words: Whether all columns hold words, and not figures from the second column on.
    """

    def row(cells: Sequence[str], tag: str, kind: str = "") -> str:
        shown = cells if words else [_UNBROKEN.sub(_with_hard_spaces, cell) for cell in cells]
        return f"<tr{kind}>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in shown) + "</tr>"

    kinds = [' class="foremost"' if number == foremost else "" for number in range(len(rows))]
    body = "\n".join(row(cells, "td", kind) for cells, kind in zip(rows, kinds, strict=True))
    below = f"<caption>{escape(caption)}</caption>" if caption else ""
    opening = '<table class="words">' if words else "<table>"
    top = f"<thead>{row(heads, 'th')}</thead>"
    return f'<div class="scroll">{opening}{below}{top}\n<tbody>\n{body}\n</tbody></table></div>'


def _with_hard_spaces(found: re.Match[str]) -> str:
    return found.group().replace(" ", "\N{NO-BREAK SPACE}")


def svg_picture(svg: str, description: str, caption: str = "") -> str:
    """A plot. It is an image of its own, so that the names inside of several plots do not mix."""
    return _picture("image/svg+xml", svg.encode(), description, caption)


def png_picture(png: bytes, description: str, caption: str = "") -> str:
    """A picture in PNG format."""
    return _picture("image/png", png, description, caption)


def _picture(kind: str, data: bytes, description: str, caption: str) -> str:
    source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(description)}" src="{source}">{below}</figure>'


def block(kind: str, parts: Sequence[str]) -> str:
    """Parts that are laid out together: "plots" side by side, "strips" below each other."""
    return f'<div class="{escape(kind)}">\n' + "\n".join(parts) + "\n</div>"


def legend(styles: Mapping[str, Style]) -> str:
    """Which line belongs to which method, for all plots that follow."""
    entries = []
    for name, style in styles.items():
        dashes = f' stroke-dasharray="{" ".join(f"{2 * length:g}" for length in style.dashes)}"' if style.dashes else ""
        line = f'<path d="M0 5H34" stroke="{style.color}" stroke-width="3"{dashes}/>'
        entries.append(f'<span><svg width="34" height="10" aria-hidden="true">{line}</svg>{escape(name)}</span>')
    return '<p class="legend">' + "".join(entries) + "</p>"
