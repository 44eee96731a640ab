"""How the engine is started: with the Python of its environment, in a process that only sees what it needs."""

from __future__ import annotations

import os
from pathlib import Path

import slicer

from CondDiffusionUADLib.run import Problems, UserSettings
from CondDiffusionUADLib.run.ChildProcess import Launch
from CondDiffusionUADLib.run.Environment import environmentFolder, pythonIn, readRecord
from CondDiffusionUADLib.run.Folders import moduleFolder, resource
from CondDiffusionUADLib.run.Problems import ProblemError

_VARIABLES = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONNOUSERSITE": "1"}


def engineLaunch(*arguments: str) -> Launch:
    """How to run the engine with these arguments. Raises ProblemError when there is no environment for it."""
    python, variables = enginePython()
    environment = {**_VARIABLES, **variables, "PYTHONPATH": str(moduleFolder())}
    return Launch(python, ("-m", "conddiffusion_uad", *arguments), environment)


def enginePython() -> tuple[str, dict[str, str]]:
    """The Python of the environment in use, and the variables that it needs to start.

    Raises:
        ProblemError: There is no environment.
    """
    named = UserSettings.environmentPython()
    if named:
        if not Path(named).is_file():
            raise ProblemError(Problems.environmentGone(named))
        return named, {}
    folder = ownPlace()
    record = readRecord(folder)
    if record is None:
        raise ProblemError(Problems.notInstalled())
    return str(pythonIn(folder)), dict(record.variables)


def ownEnvironment() -> Path:
    """The folder of our own environment, which may not exist. Raises OSError."""
    return environmentFolder(resource("requirements.txt"))


def ownPlace() -> Path:
    """The same, for what tells people of problems. Raises ProblemError."""
    try:
        return ownEnvironment()
    except OSError as error:
        raise ProblemError(Problems.cannotKeepEnvironment(str(error))) from error


def slicersPythonLaunch(module: str, *arguments: str) -> Launch:
    """How to run a module of this library with Slicer's own Python, which is only good for the standard library."""
    # The launcher of Slicer's Python sets the variables of Python itself, so the folder is told as an argument.
    script = "import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[1]; runpy.run_module({!r}, None, {!r})"
    program = Path(slicer.app.slicerHome) / "bin" / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    return Launch(str(program), ("-c", script.format(module, "__main__"), str(moduleFolder()), *arguments), _VARIABLES)
