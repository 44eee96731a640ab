"""Fixtures of the module tests: the stand-in for the application, a scan in the scene, the real worker."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from building_site import Site
from desk import Desk
from desk_runs import is_alive
from install_place import Place
from mrml_application import MrmlApplication, create_mrml_application, load_volume
from standin.application import Application, install_python, running, slots_that_raise

install_python()


@pytest.fixture(scope="module", autouse=True)
def no_widgets_left() -> Iterator[None]:
    """Collect widgets in cycles here: when a later test's thread happens to do it, Qt waits forever for this one."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """To be a good neighbor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def mrml(tmp_path: Path) -> MrmlApplication:
    """An empty scene."""
    folder = tmp_path / "mrml"
    folder.mkdir()
    return create_mrml_application(folder)


@pytest.fixture
def app(mrml: MrmlApplication, tmp_path: Path) -> Iterator[Application]:
    """The application; an exception in any slot or observer fails the test, and nothing may be left behind."""
    temporary = tmp_path / "slicer"
    temporary.mkdir()
    launcher = tmp_path / "home" / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    with slots_that_raise() as raised:
        with running(mrml, temporary) as application:
            yield application
            from CondDiffusionUADLib.run.Application import releaseLogic

            releaseLogic()
        assert not raised
    assert os.listdir(temporary) == []


@pytest.fixture
def scan(app: Application, mrml: MrmlApplication, scan_file: Path) -> Any:
    """The small scan in the scene."""
    return load_volume(mrml, scan_file, "ball_T1")


@pytest.fixture
def make_desk(
    app: Application, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., float]
) -> Iterator[Callable[..., Desk]]:
    """Makes panels over what is in the scene; see `Desk` for how."""
    made: list[Desk] = []

    def making(**how: bool) -> Desk:
        made.append(Desk(monkeypatch, wait_until, **how))
        return made[-1]

    yield making
    for desk in made:
        desk.widget.cleanup()


@pytest.fixture
def empty(make_desk: Callable[..., Desk]) -> Desk:
    """The panel over an empty scene."""
    return make_desk()


@pytest.fixture
def desk(scan: Any, make_desk: Callable[..., Desk]) -> Desk:
    """The panel over the small scan."""
    return make_desk()


@pytest.fixture
def tidy_desk(scan: Any, make_desk: Callable[..., Desk]) -> Iterator[Desk]:
    """A panel over the small scan whose worker is not made ready; afterwards no process and no file may be left."""
    made = make_desk(enter=False)
    yield made
    process = made.process
    made.widget.cleanup()
    assert not process or not is_alive(process)
    assert made.left() == []


@pytest.fixture
def wait_until() -> Callable[..., float]:
    """Waits in the event loop for a condition; returns the seconds it took."""
    import qt

    def waiting(condition: Callable[[], Any], seconds: float = 90.0) -> float:
        begin = time.monotonic()
        loop = qt.QEventLoop()
        timer = qt.QTimer()
        timer.timeout.connect(lambda: loop.quit() if condition() or time.monotonic() - begin > seconds else None)
        timer.start(5)
        loop.exec()
        timer.stop()
        assert condition(), f"not within {seconds} s"
        return time.monotonic() - begin

    return waiting


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Where an environment is built."""
    yield Site(tmp_path)


@pytest.fixture
def place(app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An installer with wheels, and a folder for its environments."""
    (tmp_path / "site").mkdir()
    made = Place(tmp_path / "site", monkeypatch)
    yield made
    made.installer.stop()
