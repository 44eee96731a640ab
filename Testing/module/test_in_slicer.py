"""The tests that Slicer itself runs, run here too: they must not be wrong when nobody has a Slicer at hand."""

from __future__ import annotations

import importlib.util
import unittest
from pathlib import Path

import pytest
from standin.application import Application
from standin.qt_module import show_properties

FILE = Path(__file__).resolve().parents[1] / "Python" / "CondDiffusionUADInSlicerTest.py"
NAMES = [line.split("(")[0].split()[-1] for line in FILE.read_text().splitlines() if line.startswith("    def test_")]


@pytest.mark.parametrize("name", NAMES)
def test_in_slicer(app: Application, name: str) -> None:
    spec = importlib.util.spec_from_file_location("CondDiffusionUADInSlicerTest", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    show_properties(module)
    spec.loader.exec_module(module)
    result = unittest.TestResult()
    module.CondDiffusionUADInSlicerTest(name).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), [text for _, text in result.errors + result.failures]
