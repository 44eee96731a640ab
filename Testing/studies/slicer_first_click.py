"""The first click in a Slicer that has nothing yet: a question, a real installation, a detection; then a second click.

    SLICER=~/Slicer/Slicer STUDY_OUTPUT=/tmp/first python Testing/studies/slicer_first_click.py

It installs into a new folder, from the package index or what pip and uv are told to use, and takes what that downloads;
where STUDY_WHEELS names a folder of wheels, from that. STUDY_PYTHON names the Python to build with. Prints times and
stalls, and what was asked; keeps pictures.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import SCAN, Session, is_inside_slicer, run_in_slicer


def first_click(session: Session) -> None:
    """Install and detect, and detect once more in a panel that was ready."""
    from CondDiffusionUADLib.run import UserSettings

    session.folder = os.environ.get("STUDY_WHEELS", "")
    session.answer = "Install from a folder of wheels..." if session.folder else "Install"
    UserSettings.setEnvironmentPython("")
    UserSettings.setPythonToBuildWith(os.environ.get("STUDY_PYTHON", ""))
    session.slicer.util.loadVolume(str(SCAN))
    session.step("open the panel", session.open)
    session.pump(seconds=3)
    session.picture("1_before")
    steps: list[str] = []
    panel = session.panel

    def click_and_wait(name: str, seconds: float) -> str:
        steps.clear()
        started = time.monotonic()
        first: list[float] = []

        def over() -> bool:
            text = str(panel.ui.stageLabel.text)
            if panel.run.busy and not steps:
                first.append(round(time.monotonic() - started, 2))
            if text and (not steps or steps[-1] != text.partition(",")[0]):
                steps.append(text.partition(",")[0])
                if text.startswith("Downloading") or "Reconstructing" in text:
                    session.picture(f"{name}_{len(steps)}")
            return not panel.run.busy

        panel.ui.detectButton.click()
        took, stall = session.pump(over, seconds)
        return f"{took} s, first word after {first} s, longest stall {stall} s: {panel.ui.messageLabel.text!r}"

    session.step("the first click", lambda: click_and_wait("2_install", 900))
    print("steps:", *dict.fromkeys(step.split(":")[0] for step in steps), sep="\n  ", flush=True)
    session.picture("3_found")
    print("asked:", *session.asked, sep="\n  ", flush=True)
    session.step("environment", lambda: panel.installer.state())
    session.step("the second click", lambda: click_and_wait("4_again", 600))
    session.step("memory of the worker, MB", lambda: panel.logic.workerMegabytes)
    panel.ui.diagnosticsButton.click()
    session.step("diagnostics", lambda: session.slicer.app.clipboard().text()[:1500])
    if not panel.ui.exportSection.enabled:
        session.failed.append("no result")
    session.end()


if is_inside_slicer():
    first_click(Session())
elif __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = run_in_slicer(__file__, CONDDIFFUSION_UAD_ENGINE=str(Path(folder) / "Engine"))
        left = sorted(path.name for path in (Path(folder) / "Engine").glob("*")) if done else []
    if done is not None:
        print(done.stdout, done.stderr[-3000:], f"exit {done.returncode}; in the folder: {left}", sep="\n")
        sys.exit(done.returncode)
