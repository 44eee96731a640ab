"""What is chosen among the images of a scan is there, or is refused for the true reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_scans import metaimage, nifti, nrrd, series

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

FILES = {".nii.gz": nifti, ".nrrd": nrrd, ".mha": metaimage}


def refusal(path: Path, **chosen: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        volume.read(path, Reading(**chosen))
    assert caught.value.code == "bad_option"
    return caught.value


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("option", ["series", "echo"])
def test_nothing_is_chosen_in_a_file_of_one_scan(option: str, suffix: str, tmp_path: Path) -> None:
    make: Callable[[Path], Path] = FILES[suffix]
    failure = refusal(make(tmp_path / f"scan{suffix}"), **{option: "1"})
    assert failure.message == f"--{option} chooses among DICOM images, and scan{suffix} is not DICOM."
    assert f"Leave --{option} out" in failure.hint


@pytest.mark.parametrize("wanted", ["2", "0", "\u00b2", "echo time 90 ms", "9" * 6000])
def test_a_stack_that_is_not_there_is_refused_with_those_that_are(wanted: str, tmp_path: Path) -> None:
    folder = series(tmp_path / "s")
    failure = refusal(folder, echo=wanted)
    assert failure.hint == "Leave out --echo: there is one stack only." and len(failure.message) < 300
    assert volume.read(folder, Reading(echo="1")).GetSize() == volume.read(folder).GetSize()
