from pathlib import Path

import compare_speed
import pytest

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.failures import BadInput, Failure


def test_two_precisions_are_compared_in_processes_of_their_own(
    small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = Path(bundles.__file__).parents[3]
    variants = [f"bundle={small_bundle},precision=fp32,checkout={checkout}", f"bundle={small_bundle},precision=bf16"]
    compare_speed.main([*variants, "--slices", "2", "--rounds", "1"])
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(variants[0]) and "times as fast" in told[1]
    assert 0 <= float(told[3].split("differ by ")[1].split()[0]) < 0.01


@pytest.mark.parametrize("text", ["precision=fp64", "speed=fast", "checkout=/nowhere"])
def test_a_variant_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="A variant cannot be"):
        compare_speed.parse(text)


def test_a_variant_that_cannot_run_is_told(small_bundle: Path) -> None:
    broken = {**compare_speed.DEFAULTS, "bundle": str(small_bundle / "absent")}
    with pytest.raises(Failure, match="cannot run"):
        compare_speed.compare(broken, broken, slices=1, rounds=1)
