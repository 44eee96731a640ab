"""What the process that builds the environment is told, and how it tells what it does. Standard library only."""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from CondDiffusionUADLib.run.InstallationPlan import Plan
from CondDiffusionUADLib.run.Uv import Commands


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        environment: The folder that it is to become.
        requirements: What the engine needs.
        module: The folder to put on the path for the engine.
        scan: To try the environment with.
        started: The variables that Slicer was started with.
        expected: Bytes that the user has agreed to download.
        wheels: A folder of wheels; empty for the registry.
        python: A Python to build with; empty to choose.
        replaces: When the environment that is to be replaced was made; 0 when there is none.
        existing: A Python to try instead of building anything; empty to build.
        sweep: Only remove what broken-off installations left.
        test: What tries an environment.
    """

    environment: str
    requirements: str
    module: str
    scan: str
    started: Mapping[str, str]
    expected: int = 0
    wheels: str = ""
    python: str = ""
    replaces: float = 0.0
    existing: str = ""
    sweep: bool = False
    test: str = str(Path(__file__).with_name("EnvironmentTest.py"))


class Console:
    """Talks with Slicer."""

    def __init__(self) -> None:
        self.commands = Commands(self.log)
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def order(self) -> Order:
        """The order; then listen for more. Raises ValueError for one that cannot be understood."""
        told = json.loads(sys.stdin.readline())
        order = Order(**{field.name: told[field.name] for field in fields(Order) if field.name in told})
        threading.Thread(target=self._listen, daemon=True).start()
        return order

    def tell(self, event: str, **more: Any) -> None:
        """Send an event."""
        with contextlib.suppress(OSError):  # nobody listens any more
            print(json.dumps({"event": event, **more}), flush=True)

    def log(self, line: str) -> None:
        """A line for the log."""
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)

    def agrees(self, plan: Plan) -> bool:
        """Ask the user. Raises CanceledError."""
        self.tell("question", download=plan.download, disk=plan.disk)
        while True:
            self.commands.check()
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=0.2)

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "cancel":
                break
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._answers.put(bool(json.loads(line)["answer"]))
        self.commands.giveUp()
