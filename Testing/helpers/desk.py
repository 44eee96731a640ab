"""A panel on a desk: with a worker that needs no packages, and an installer that installs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_installer import FakeInstaller

FAKE_WORKER = Path(__file__).resolve().with_name("fake_worker.py")


class Desk:
    """The panel as a reader has it in front of her.

    Args:
        monkeypatch: Of pytest.
        wait_until: The fixture of that name.
        ready: Whether the environment is installed.
        enter: Whether the panel is entered: then the worker gets ready.

    Attributes:
        installer: The fake one.
        monkeypatch: Of pytest.
        widget: The module's widget.
    """

    def __init__(
        self, monkeypatch: Any, wait_until: Callable[..., float], *, ready: bool = True, enter: bool = True
    ) -> None:
        from CondDiffusionUAD import CondDiffusionUADWidget
        from CondDiffusionUADLib.panel import Widget

        self.monkeypatch = monkeypatch
        self._wait_until = wait_until
        self.installer = FakeInstaller(ready)
        monkeypatch.setattr(Widget, "Installer", lambda: self.installer)
        self.worker("several")
        self.widget = CondDiffusionUADWidget()
        self.widget.parent.show()
        if enter:
            self.widget.enter()

    @property
    def panel(self) -> Any:
        """The panel."""
        return self.widget.panel

    @property
    def ui(self) -> Any:
        """Its widgets by name."""
        return self.panel.ui

    @property
    def message(self) -> str:
        """What it says below the button."""
        return self.ui.messageLabel.property("text") if self.ui.messageLabel.isVisibleTo(self.widget.parent) else ""

    @property
    def process(self) -> int:
        """The number of the worker's process; 0 when there is none."""
        return self.panel.logic.workerProcessId

    def nodes(self) -> set[str]:
        """The IDs of the nodes in the scene."""
        import slicer

        scene = slicer.mrmlScene
        return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}

    def left(self) -> list[str]:
        """The files in the temporary folder; a worker that stays has an empty folder of its own there."""
        import slicer

        return [str(path) for path in Path(slicer.app.temporaryPath).rglob("*") if not path.is_dir()]

    @property
    def finding(self) -> Any:
        """The chosen finding, or None."""
        return self.panel.findings.chosen

    def worker(self, *mode: str) -> None:
        """From now on, the worker does this; see fake_worker.py."""
        from CondDiffusionUADLib.panel import Widget
        from CondDiffusionUADLib.run import Application
        from CondDiffusionUADLib.run.ChildProcess import Launch

        launch = Launch(sys.executable, (str(FAKE_WORKER), *mode))
        self.monkeypatch.setattr(Application, "engineLaunch", lambda *arguments: launch)
        self.monkeypatch.setattr(Widget, "engineLaunch", lambda *arguments: launch)

    def detect(self, *mode: str) -> None:
        """Click and wait for the end; with another worker than before, if one is named."""
        if mode:
            self.panel.logic.renewWorker()
            self.worker(*mode)
        self.ui.detectButton.click()
        self.wait(lambda: not self.panel.run.busy)

    def wait(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        """Wait for a condition."""
        self._wait_until(condition, seconds)

    def settle(self) -> None:
        """Let the panel take up what happened in the scene."""
        import qt

        loop = qt.QEventLoop()
        qt.QTimer.singleShot(20, loop.quit)
        loop.exec()

    def texts(self, box: Any) -> list[str]:
        """The entries of a combo box."""
        return [box.itemText(index) for index in range(box.property("count"))]
