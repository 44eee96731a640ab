#!/usr/bin/env python3
"""Puts together the pictures in the README from those that the tests of the panel leave in build/screenshots.

python3 Testing/run.py test Testing/module/test_panel.py
.venv/bin/python Resources/Screenshots/make_screenshots.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "build" / "screenshots"
NAMES = {"2-running": "running", "3-found": "found", "4-reviewed": "reviewed"}
NOTE = (
    "Drawn by the project's tests:\nslice views by Slicer's library,\npanel by Qt with stand-ins\nfor Slicer's own "
    "widgets.\n\nSynthetic scan, not a patient.\nResearch use only,\nnot a medical device."
)


def compose(panel: Image.Image, views: Image.Image) -> Image.Image:
    """The panel at the left, the three slice views and a note at the right."""
    width, height = views.width // 3, views.height
    canvas = Image.new("RGB", (panel.width + 2 * width, 2 * height))
    canvas.paste(panel, (0, 0))  # what it has below is empty
    for index, (column, row) in enumerate(((0, 0), (1, 0), (0, 1))):
        view = views.crop((index * width, 0, (index + 1) * width, height))
        canvas.paste(view, (panel.width + column * width, row * height))
    note = Image.new("RGB", (width, height), (0, 0, 0))
    font = ImageFont.load_default(size=20)
    ImageDraw.Draw(note).multiline_text((40, 120), NOTE, fill=(170, 170, 170), font=font, spacing=8)
    canvas.paste(note, (panel.width + width, height))
    return canvas


def main() -> None:
    """Write the pictures."""
    for source, name in NAMES.items():
        with Image.open(SOURCE / f"{source}.png") as panel, Image.open(SOURCE / f"{source}-views.png") as views:
            picture = compose(panel.convert("RGB"), views.convert("RGB"))
        picture.save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
