"""Opens the panel in new Slicers, with freed memory overwritten: does any of them crash, and what is left behind?

    SLICER=~/Slicer/Slicer STUDY_ENVIRONMENT=/path/bin/python python Testing/studies/slicer_openings.py [TIMES]

STUDY_ENVIRONMENT names a Python with the engine's packages. Each Slicer opens the panel, waits until what can compute
is known and the worker is ready, and quits; every third is killed in a run instead: its folders stay, and the next one
has to sweep them.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import SCAN, Session, is_inside_slicer, run_in_slicer


def opening(session: Session) -> None:
    """Open the panel and wait until it is ready."""
    from CondDiffusionUADLib.run import UserSettings

    UserSettings.setEnvironmentPython(os.environ["STUDY_ENVIRONMENT"])
    session.slicer.util.loadVolume(str(SCAN))
    started = time.monotonic()
    session.open()
    panel = session.panel
    shown = round(time.monotonic() - started, 2)
    took, stall = session.pump(lambda: panel.logic.workerMegabytes is not None, 900)
    megabytes, computed = panel.logic.workerMegabytes, round(session.computed, 3)
    print(f"shown after {shown} s, ready after {took} s, {megabytes} MB, stall {stall} s, computing {computed} s of it")
    print("devices:", panel.ui.deviceHint.text, flush=True)
    if panel.logic.workerMegabytes is None:
        session.failed.append("ready")
    if os.environ.get("STUDY_KILL"):
        panel.ui.detectButton.click()
        session.pump(lambda: "Registering" in str(panel.ui.stageLabel.text), 600)
        print("killed in:", panel.ui.stageLabel.text, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    session.end()


def main(times: int) -> int:
    """Open it so often; the number of openings that went wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory() as profile:
        for number in range(1, times + 1):
            kill = "1" if number % 3 == 0 else ""
            done = run_in_slicer(__file__, profile=Path(profile), limit_s=1200, STUDY_KILL=kill)
            if done is None:
                return 0
            time.sleep(11 if kill else 1)  # a younger folder may be one that is just being locked
            left = [path for path in Path(profile).rglob("CondDiffusionUAD-*") if path.is_dir()]
            expected = done.returncode != 0 and left if kill else done.returncode == 0 and not left
            wrong += not expected
            told = ("shown", "devices", "killed")
            said = " ".join(line for line in done.stdout.splitlines() if line.startswith(told))
            print(f"{number}: exit {done.returncode}, {len(left)} folders left. {said}", flush=True)
            if not expected:
                print(done.stdout[-1500:], done.stderr[-1500:])
    print(f"{times} openings, {wrong} wrong")
    return wrong


if is_inside_slicer():
    opening(Session())
elif __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
