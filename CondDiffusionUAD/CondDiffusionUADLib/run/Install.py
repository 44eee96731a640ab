"""Installs what the engine needs, on the first click, after asking once.

PyTorch comes through the extension PyTorch, which knows the right build for the graphics card; the other packages
through Slicer's own packaging, or, before Slicer 5.12, through pip in a process of its own. Nothing is imported here.
"""

from __future__ import annotations

import importlib
import inspect
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.run import Problems
from CondDiffusionUADLib.run.ChildProcess import ChildProcess, Launch
from CondDiffusionUADLib.run.Paths import resource
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.Requirements import TORCH, Installed, Requirement, missing, readRequirements
from CondDiffusionUADLib.run.WorkerMessages import LineBuffer
from CondDiffusionUADLib.run.WorkerProcess import VARIABLES, slicerPython

# What an install must not touch: they come with Slicer, or through the extension PyTorch.
KEPT = (TORCH, "SimpleITK", "numpy", "requests")
TORCH_DISK_GB, OTHER_DISK_GB = 10, 1
# Downloads in MB, to tell before asking; with an NVIDIA card PyTorch is the large build.
TORCH_MB, OTHER_MB = "200 - 3000", "150"


class Installer:
    """Makes sure that the engine's packages are there.

    Args:
        installed: Tells what is installed.
        before: Called before anything is installed: an installer may ask for a restart of Slicer.
        after: Called when that is over.
        log: Receives the lines that pip prints.
    """

    def __init__(
        self,
        installed: Installed,
        before: Callable[[], None],
        after: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._installed = installed
        self._before = before
        self._after = after
        self._log = log
        self._process: ChildProcess | None = None
        self._lines = LineBuffer()
        self._done: Callable[[Problem | None], None] = lambda problem: None

    def missing(self) -> list[Requirement]:
        """What has to be installed."""
        text = resource("requirements.txt").read_text(encoding="utf-8")
        needed = [needed for needed in readRequirements(text) if needed.name == TORCH or needed.name not in KEPT]
        return missing(needed, self._installed)

    def ensure(self, done: Callable[[Problem | None], None], progress: Callable[[str], None]) -> None:
        """Install what is missing, after asking once; then call `done`, with what went wrong if something did."""
        try:
            wanted = self.missing()
        except (OSError, ValueError) as error:  # a damaged installation of the extension
            done(failed(str(error)))
            return
        if not wanted:
            done(None)
            return
        try:
            self._check(wanted)
            if not slicer.util.confirmOkCancelDisplay(question(wanted), "CondDiffusionUAD"):
                raise ProblemError(declined())
            self._before()
            if TORCH in [requirement.name for requirement in wanted]:
                progress(_("Installing PyTorch"))
                installTorch(next(requirement for requirement in wanted if requirement.name == TORCH))
            others = [requirement for requirement in wanted if requirement.name != TORCH]
            self._done = done
            progress(_("Installing packages"))
            self._installOthers(others)
        except ProblemError as error:
            self._after()
            done(error.problem)

    def stop(self) -> None:
        """Give up installing; `done` is not called."""
        self._done = lambda problem: None
        process, self._process = self._process, None
        if process is not None:
            process.abandon()
            self._after()

    def _check(self, wanted: list[Requirement]) -> None:
        """Raise ProblemError when it is known beforehand that it cannot work."""
        if self._installed.version(TORCH) == "":
            event = {"code": "torch_broken", "message": _("PyTorch is only partly installed.")}
            raise ProblemError(Problems.fromEvent(event))
        torch = TORCH in [requirement.name for requirement in wanted]
        if torch and torchInstaller() is None:
            message = _("The extension PyTorch is missing.")
            hint = _("Install it in the Extensions Manager, restart Slicer and detect again.")
            raise ProblemError(Problem("pytorch_extension_missing", message, hint))
        needed = TORCH_DISK_GB if torch else OTHER_DISK_GB
        if shutil.disk_usage(sysconfig.get_paths()["purelib"]).free < needed * 1e9:
            message = _("The disk with Slicer has less than {size} GB left.").format(size=needed)
            raise ProblemError(Problem("disk_full", message, _("Free some space and detect again.")))

    def _installOthers(self, wanted: list[Requirement]) -> None:
        packaging = slicerPackaging()
        if not wanted:
            self._finish(True, "")
        elif packaging is not None:
            try:
                packaging.pip_ensure(
                    [str(requirement) for requirement in wanted],
                    skip_packages=list(KEPT),
                    prompt_install=False,
                    requester="CondDiffusionUAD",
                )
            except (RuntimeError, subprocess.CalledProcessError) as error:
                raise ProblemError(failed(str(error))) from error
            self._finish(True, "")
        else:
            self._startPip(wanted)

    def _startPip(self, wanted: list[Requirement]) -> None:
        self._lines = LineBuffer()
        self._process = ChildProcess(pipLaunch(wanted), self._onEnded, self._onOutput)
        self._process.start()

    def _onOutput(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._log(line)

    def _onEnded(self, started: bool, code: int) -> None:
        self._process = None
        reason = _("pip ended with an error, see the log") if started else _("PythonSlicer does not run")
        self._finish(code == 0, reason)

    def _finish(self, succeeded: bool, reason: str) -> None:
        self._after()
        left = self.missing() if succeeded else []
        if left:
            reason = _("still missing: {names}").format(names=", ".join(requirement.name for requirement in left))
        done, self._done = self._done, lambda problem: None
        done(failed(reason) if left or not succeeded else None)


def question(wanted: list[Requirement]) -> str:
    """What the user is asked: what, why, how much."""
    names = ", ".join(requirement.name for requirement in wanted)
    sizes = []
    if any(requirement.name == TORCH for requirement in wanted):
        sizes.append(_("PyTorch {size} MB, depending on the graphics card").format(size=TORCH_MB))
    if any(requirement.name != TORCH for requirement in wanted):
        sizes.append(_("the others up to {size} MB").format(size=OTHER_MB))
    text = _(
        "To detect anomalies, these Python packages have to be installed into Slicer once: {names}.\n\n"
        "They run the model on this computer; no data leaves it. Download: {sizes}. Continue?"
    )
    return text.format(names=names, sizes="; ".join(sizes))


def declined() -> Problem:
    """The user does not want packages to be installed."""
    message = _("Without the packages nothing can be detected.")
    return Problem("packages_declined", message, _("Detect again to be asked again."))


def failed(reason: str) -> Problem:
    """The installation failed."""
    message = _("The packages could not be installed ({reason}).").format(reason=reason)
    hint = _("Check the internet connection and the proxy; for computers without internet see the README.")
    return Problem("install_failed", message, hint)


def slicerPackaging() -> Any:
    """`slicer.packaging`; None before Slicer 5.12."""
    try:
        module = importlib.import_module("slicer.packaging")
    except ImportError:
        return None
    return module if hasattr(module, "pip_ensure") else None


def torchInstaller() -> Any:
    """The logic of the extension PyTorch; None when it is not installed."""
    try:
        return importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    except (ImportError, AttributeError):
        return None


def installTorch(requirement: Requirement) -> None:
    """Install PyTorch through the extension. Raises ProblemError."""
    logic = torchInstaller()
    wanted = {"askConfirmation": False, "torchVersionRequirement": f">={requirement.floor}"}
    # Names of arguments have changed before; what it does not know, it does not need.
    known = inspect.signature(logic.installTorch).parameters
    try:
        result = logic.installTorch(**{name: value for name, value in wanted.items() if name in known})
    except Exception as error:  # it runs pip and imports torch: anything may come
        raise ProblemError(failed(str(error).strip() or type(error).__name__)) from error
    if result is None:
        raise ProblemError(declined())


def pipLaunch(wanted: list[Requirement]) -> Launch:
    """How to run pip in Slicer's Python: what Slicer brings stays as it is."""
    arguments = ("-m", "pip", "install", "--disable-pip-version-check", "--prefer-binary", *map(str, wanted))
    return Launch(slicerPython(), arguments, VARIABLES)
