"""Slicer with the shipped scan and the panel, for tests that follow one run from the first click to a saved scene."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from mrml_application import create_mrml_application, load_volume
from PIL import Image
from slice_views import VIEWS, SliceView, why_not_drawn
from standin.application import running, slots_that_raise

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "screenshots"
SAMPLE = ROOT / "Resources" / "SampleData" / "synthetic_T2_brain.nii.gz"
PANEL_SIZE = (460, 1000)
VIEW_SIZE = (460, 500)


@contextmanager
def opened_over_the_sample(folder: Path) -> Iterator[SimpleNamespace]:
    """The application, its scan, widget, panel and views, and the seconds that opening the panel took.

    Args:
        folder: For what the application writes; nothing may be left in it.
    """
    for name in ("mrml", "temporary"):
        (folder / name).mkdir()
    mrml = create_mrml_application(folder / "mrml")
    views = {} if why_not_drawn() else {name: SliceView(mrml, name, VIEW_SIZE) for name in VIEWS}
    with slots_that_raise() as raised, running(mrml, folder / "temporary") as app:
        scan = load_volume(mrml, SAMPLE, "Synthetic_T2_brain")
        for view in views.values():  # as Slicer shows what it loads
            view.composite_node.SetBackgroundVolumeID(scan.GetID())
            view.look_at((20.0, 10.0, 20.0))
        from CondDiffusionUAD import CondDiffusionUADWidget

        begin = time.perf_counter()
        widget = CondDiffusionUADWidget()
        widget.enter()
        opening = time.perf_counter() - begin
        widget.parent.resize(*PANEL_SIZE)
        widget.parent.show()
        yield SimpleNamespace(
            mrml=mrml,
            app=app,
            scan=scan,
            widget=widget,
            panel=widget.panel,
            ui=widget.panel.ui,
            views=views,
            opening=opening,
        )
        widget.cleanup()
        for view in views.values():
            view.close()
    assert not raised
    assert os.listdir(folder / "temporary") == []


def picture(slicer_app: SimpleNamespace, name: str) -> None:
    """Write what panel and views show."""
    import qt

    PICTURES.mkdir(parents=True, exist_ok=True)
    qt.QApplication.processEvents()
    slicer_app.widget.parent.grab().save(str(PICTURES / f"{name}.png"))
    if slicer_app.views:
        shown = np.hstack([view.picture() for view in slicer_app.views.values()])
        Image.fromarray(shown).save(PICTURES / f"{name}-views.png")


def look(slicer_app: SimpleNamespace) -> None:
    """Let the views look at the first finding."""
    center = slicer_app.panel.findings.live.selection.findings[0].centerRas
    for view in slicer_app.views.values():
        view.look_at(center)


def segment_size(slicer_app: SimpleNamespace) -> int:
    """The voxels of all segments of the result."""
    segmentation = slicer_app.panel.findings.live.nodes.segmentation.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    arrays = [segment.GetRepresentation("Binary labelmap").GetPointData().GetScalars() for segment in segments]
    return sum(int(np.frombuffer(array, np.uint8).astype(bool).sum()) for array in arrays)
