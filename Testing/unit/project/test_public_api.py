"""What the package offers to Python programs: its names, its example, and that importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import conddiffusion_uad as uad

README = Path(__file__).resolve().parents[3] / "README.md"


def test_importing_the_package_loads_no_library(environment: dict[str, str]) -> None:
    code = "import conddiffusion_uad, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "conddiffusion_uad" in loaded
    assert not loaded & {"torch", "monai", "numpy", "scipy", "SimpleITK"}


def test_every_name_is_there_and_says_what_it_does() -> None:
    assert set(uad.__all__) == {"read", "load_bundle", "detect", "score", "Detection", "__version__"}
    assert set(uad.__all__) <= set(dir(uad))
    for name in set(uad.__all__) - {"__version__"}:
        assert getattr(uad, name).__doc__, name
    assert not hasattr(uad, "train")


def test_the_example_in_its_docstring_runs(environment: dict[str, str], scan_file: Path, small_bundle: Path) -> None:
    assert uad.__doc__ is not None
    example = textwrap.dedent(uad.__doc__.partition("::\n")[2].partition("\n\nThe images")[0]).strip("\n")
    assert f"```python\n{example}\n```" in README.read_text(encoding="utf-8")
    code = example.replace("scan_T2.nii.gz", str(scan_file)).replace('"T2"', '"T1"')
    code = code.replace('"learned"', repr(str(small_bundle)))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    number, volume, peak = done.stdout.splitlines()[0].split()
    assert number == "1" and float(volume) > 0 and float(peak) > 0


def test_scoring_a_prepared_brain_gives_what_detecting_gives(scan_file: Path, small_bundle: Path) -> None:
    import numpy as np
    import SimpleITK as sitk

    bundle = uad.load_bundle(str(small_bundle)).to("cpu", "fp32")
    found = uad.detect(uad.read(scan_file), bundle, "T1", seed=3)
    assert isinstance(found, uad.Detection)
    scored = uad.score(bundle, found.prepared, "T1", seed=3)
    heatmap = sitk.GetArrayFromImage(found.prepared.score_to_native(scored.score))
    np.testing.assert_array_equal(heatmap, sitk.GetArrayFromImage(found.heatmap))
