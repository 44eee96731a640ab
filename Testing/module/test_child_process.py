"""Programs beside Slicer: how they start, what they can be made to run, and how they are let go of."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin.application import Application, slots_that_raise

Wait = Callable[..., float]
TELL = "import json, os, sys; print(json.dumps([sys.path, os.getcwd(), dict(os.environ)]))"


class Heard:
    """What a process said and how it ended."""

    def __init__(self, *arguments: str, program: str = sys.executable, **variables: str) -> None:
        from CondDiffusionUADLib.run.ChildProcess import ChildProcess, Launch

        self.data = b""
        self.ends: list[tuple[bool, int]] = []
        launch = Launch(program, arguments, variables)
        self.process: Any = ChildProcess(launch, lambda *end: self.ends.append(end), self._hear)
        self.process.start()

    def _hear(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize(
    ("script", "code"), [("print('yes')", 0), ("import sys; sys.exit(7)", 7), ("import os; os.abort()", -1)]
)
def test_a_process_ends_once_and_is_not_freed_in_its_own_signal(
    app: Application, wait_until: Wait, script: str, code: int
) -> None:
    heard = Heard("-c", script)
    assert heard.process.running and heard.process.processId > 0
    wait_until(lambda: heard.ends, 20)
    assert heard.ends == [(True, code)] and not heard.process.running
    assert (heard.data.strip() == b"yes") == (code == 0)


def test_a_program_that_cannot_be_started(app: Application, wait_until: Wait) -> None:
    heard = Heard(program="/no/such/program")
    wait_until(lambda: heard.ends, 20)
    assert heard.ends == [(False, -1)] and os.listdir(app.temporaryPath) == []


def test_a_process_can_be_abandoned(app: Application) -> None:
    heard = Heard("-c", "import time; time.sleep(60)")
    heard.process.abandon()
    assert heard.ends == [] and not heard.process.running and os.listdir(app.temporaryPath) == []


def test_the_stand_in_notices_a_process_that_is_freed_in_its_own_signal(wait_until: Wait) -> None:
    """The mistake that ended Slicer: the last reference goes in the slot, whatever is to be deleted later."""
    import qt

    class Careless:
        def __init__(self) -> None:
            self.process = qt.QProcess()
            self.process.finished.connect(self.onFinished)
            self.process.start(sys.executable, ["-c", ""])

        def onFinished(self, *code: int) -> None:  # noqa: N802 (as in Slicer)
            assert len(code) == 1, "an attribute is the first overload"
            process, self.process = self.process, None
            process.deleteLater()

    with slots_that_raise() as raised:
        careless = Careless()
        wait_until(lambda: careless.process is None, 20)
    assert ["freed in its own signal" in str(error) for error in raised] == [True]


def test_nothing_of_slicers_current_folder_and_none_of_its_python_variables_get_in(
    app: Application, wait_until: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "/slicers/own")
    heard = Heard("-c", "import argparse; " + TELL, PYTHONIOENCODING="utf-8")
    wait_until(lambda: heard.ends, 20)
    import json

    assert heard.ends == [(True, 0)], heard.data
    path, folder, variables = json.loads(heard.data)
    assert str(tmp_path) not in path and ("" not in path or sys.version_info < (3, 11))
    assert Path(folder).parent == Path(app.temporaryPath) and not Path(folder).exists()
    python = {name: value for name, value in variables.items() if name.startswith("PYTHON")}
    assert python == {"PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}


def test_the_probe_and_the_worker_do_not_run_what_lies_in_the_current_folder(
    app: Application, wait_until: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run.Readiness import DeviceProbe

    marker = tmp_path / "executed"
    for name in ("argparse", "json", "runpy", "conddiffusion_uad"):
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    answers: list[Any] = []
    DeviceProbe(answers.append).start()
    wait_until(lambda: answers, 60)
    assert [device.name for device in answers[0].found][-1] == "cpu"
    assert not marker.exists()
