"""The input gate: what passes, what is warned about, what is refused and how it is run anyway."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk

from conddiffusion_uad.app import cli
from conddiffusion_uad.detection.input_check import gate
from conddiffusion_uad.detection.input_check.contrast_estimate import estimate_contrast
from conddiffusion_uad.detection.input_check.gate import LIMITS, PASS, REFUSE, WARN, Limit, judge
from conddiffusion_uad.detection.input_check.quality import Quality
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_DONE, BadInput
from conddiffusion_uad.protocol.job import DetectionJob

T1 = Quality(
    coverage=1.0,
    filled=0.96,
    overlap=0.96,
    brain_ml=1400.0,
    anatomy=0.35,
    noise=0.01,
    ghosting=0.01,
    shading=1.3,
    spread=0.06,
    fluid=0.15,
    gray=0.55,
    white=0.9,
)
T2 = replace(T1, fluid=0.8, gray=0.3, white=0.24)
FLAIR = replace(T1, fluid=0.3, gray=0.7, white=0.68)
NEAR_T1 = {"T1": 1.0, "T2": 4.0, "FLAIR": 2.0}


class Listener(Quiet):
    """Remembers the codes of warnings."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def warning(self, code: str, message: str, hint: str = "") -> None:
        assert message.endswith(".") and hint.endswith(".")
        self.codes.append(code)


def codes(quality: Quality, contrast: str = "T1", distances: dict[str, float] = NEAR_T1) -> dict[str, bool]:
    """The codes of what is wrong, and whether the scan is refused for it."""
    concerns = judge(quality, distances, contrast, usual_size=True).concerns
    return {concern.code: concern.refuses for concern in concerns}


@pytest.mark.parametrize(("quality", "contrast"), [(T1, "T1"), (T2, "T2"), (FLAIR, "FLAIR")])
def test_a_good_scan_passes(quality: Quality, contrast: str) -> None:
    found = judge(quality, {}, contrast, usual_size=True)
    assert found.verdict == PASS and found.deviation < 0.5
    assert found.estimate.contrast == contrast


@pytest.mark.parametrize(
    "limit", [limit for limit in LIMITS if limit.figure != "distance"], ids=lambda limit: f"{limit.figure}{limit.warn}"
)
def test_a_figure_beyond_its_limit_is_told(limit: Limit) -> None:
    good = FLAIR if limit.contrast == "FLAIR" else T1

    def having(value: float) -> dict[str, bool]:
        return codes(replace(good, **{limit.figure: value}), limit.contrast or "T1")

    code = f"quality_{limit.figure}"
    step = 0.01 * (limit.warn - limit.typical)
    assert code not in having(limit.warn - step)
    assert having(limit.warn + step).get(code) is (limit.refuse == limit.warn)
    if limit.refuse is not None:
        assert having(limit.refuse + step)[code]


def test_a_contrast_that_was_changed_is_told_in_its_own_words() -> None:
    (dark,) = judge(replace(T1, gray=0.3), NEAR_T1, "T1", usual_size=True).concerns
    assert dark.message == "Gray matter is unusually dark for a T1-weighted scan (30% of the brain's range)."
    bright = judge(replace(FLAIR, gray=0.85, white=0.84), {}, "FLAIR", usual_size=True).concerns[0]
    assert bright.message.startswith("Gray matter is unusually bright for a FLAIR-weighted scan") and not bright.refuses
    assert "quality_gray" not in codes(T2, "T2"), "gray matter of T2 is as dark as that"


def test_what_is_not_known_is_not_judged() -> None:
    unknown = replace(T1, anatomy=None, ghosting=None, spread=None, fluid=None, gray=None, white=None)
    assert judge(unknown, {}, "T2", usual_size=True).verdict == PASS


def test_a_scan_unlike_the_healthy_ones_is_told_but_not_refused() -> None:
    assert codes(T1, distances={"T1": 50.0}) == {"quality_distance": False}


def test_what_is_not_arranged_like_a_brain_is_refused() -> None:
    assert codes(replace(T1, anatomy=0.005)) == {"quality_anatomy": True}
    assert codes(replace(T1, anatomy=0.03)) == {}
    assert codes(replace(T1, anatomy=0.03, overlap=0.85)) == {"quality_anatomy": True}


def test_an_outline_that_does_not_fit_is_refused_when_the_size_does_not_either() -> None:
    chest = replace(T1, overlap=0.75, anatomy=0.06)
    assert judge(chest, {}, "T1", usual_size=True).verdict == PASS, "the registration warned"
    assert judge(chest, {}, "T1", usual_size=False).verdict == REFUSE
    assert judge(T1, {}, "T1", usual_size=False).verdict == PASS, "a wrong spacing"


def test_of_a_slab_only_how_little_it_shows_is_told() -> None:
    part = replace(T1, coverage=0.44, filled=0.3, overlap=0.5, anatomy=0.004, brain_ml=600.0)
    (concern,) = judge(part, NEAR_T1, "T1", usual_size=True, slab=True).concerns
    assert (concern.code, concern.refuses) == ("quality_coverage", True) and "only 44% of the brain" in concern.message
    whole = {one.code for one in judge(part, NEAR_T1, "T1", usual_size=True).concerns}
    assert whole >= {"quality_coverage", "quality_anatomy", "quality_filled", "quality_overlap", "quality_brain_volume"}


@pytest.mark.parametrize(
    ("slices", "reasons"), [(12, {"quality_coverage"}), (30, {"quality_coverage", "quality_anatomy"})]
)
def test_a_scan_of_few_slices_is_a_slab(slices: int, reasons: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    mask = sitk.Image([40, 40, slices], sitk.sitkUInt8)
    mask.SetSpacing((5.0, 5.0, 5.0))
    prepared = SimpleNamespace(native_mask=mask, registration=SimpleNamespace(usual_size=True))
    monkeypatch.setattr(gate, "measure", lambda _: replace(T1, coverage=0.44, anatomy=0.004))
    monkeypatch.setattr(gate, "distances", lambda *_: {})
    found = gate.assess(prepared, None, "T1")
    assert {concern.code for concern in found.concerns if concern.refuses} == reasons


def test_an_odd_volume_is_told_unless_the_odd_spacing_was() -> None:
    small = replace(T1, brain_ml=500.0)
    assert codes(small) == {"quality_brain_volume": False}
    assert judge(small, {}, "T1", usual_size=False).verdict == PASS


@pytest.mark.parametrize(
    ("quality", "said", "distances", "refused"),
    [
        (T1, "T2", NEAR_T1, True),
        (T1, "T2", {}, True),
        (T1, "T2", {"T1": 5.0, "T2": 1.0}, False),  # the model sees it otherwise
        (T2, "T1", {}, True),
        (T1, "FLAIR", NEAR_T1, True),
        (replace(FLAIR, white=0.72), "T1", {}, False),  # gray and white matter differ too little to be sure
        (replace(FLAIR, white=0.55), "T1", {}, True),
    ],
)
def test_another_contrast_is_refused_only_when_that_is_sure(
    quality: Quality, said: str, distances: dict[str, float], refused: bool
) -> None:
    assert codes(quality, said, distances)["quality_contrast"] is refused


@pytest.mark.parametrize(
    ("levels", "contrast"),
    [
        ((0.5, 0.5, 0.5), None),  # a phantom
        ((0.55, 0.5, 0.5), None),  # proton density
        ((0.2, 0.6, 0.67), None),  # between T1 and FLAIR
        ((0.32, 0.4, 0.36), "FLAIR"),  # a tumor so bright that all tissue is dark beside it
        ((0.47, 0.71, 0.91), "T1"),
        ((0.76, 0.21, 0.13), "T2"),
        ((None, 0.6, 0.9), None),  # no ventricles in the field of view
    ],
)
def test_the_contrast_is_seen_from_tissue_levels(
    levels: tuple[float | None, float, float], contrast: str | None
) -> None:
    fluid, gray, white = levels
    assert estimate_contrast(replace(T1, fluid=fluid, gray=gray, white=white)).contrast == contrast


@pytest.mark.parametrize("fluid", [0.82, 0.9])
def test_fluid_as_bright_as_tissue_is_told(fluid: float) -> None:
    proton_density = replace(FLAIR, fluid=fluid, gray=0.79, white=0.71)
    assert codes(proton_density, "FLAIR", {}) == {"quality_contrast": False}
    assert "quality_contrast" in codes(proton_density, "T1", {})
    assert "quality_contrast" not in codes(proton_density, "T2", {}), "a T2 whose ventricles are small"


def test_strain_is_one_at_the_nearest_limit() -> None:
    assert judge(replace(T1, noise=0.0275), {}, "T1", usual_size=True).deviation == pytest.approx(0.5)
    assert judge(replace(T1, noise=0.045), {}, "T1", usual_size=True).deviation == pytest.approx(1.0)
    assert judge(T1, {}, "T2", usual_size=True).deviation >= 1


def test_the_report_gets_plain_values() -> None:
    values = json.loads(json.dumps(judge(replace(T1, noise=0.09), NEAR_T1, "T1", usual_size=True).to_json()))
    assert values["verdict"] == WARN and values["reasons"] == ["quality_noise"] and values["contrast_seen"] == "T1"
    assert values["figures"]["noise"] == 0.09 and values["distances"] == NEAR_T1


@pytest.fixture
def half_a_brain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every scan is found to be half a noisy brain."""
    half = replace(T1, coverage=0.5, noise=0.09)
    monkeypatch.setattr(gate, "assess", lambda *_: judge(half, NEAR_T1, "T1", usual_size=True))


def test_a_refusal_gives_the_reason_and_the_way_around(half_a_brain: None) -> None:
    listener = Listener()
    with pytest.raises(BadInput, match="only 50% of the brain") as caught:
        gate.check(None, None, "T1", listener)
    assert caught.value.code == gate.REFUSED and "--accept-any-scan" in caught.value.hint
    assert "noisy" not in caught.value.message and not listener.codes


def test_an_accepted_scan_is_examined_with_warnings(half_a_brain: None) -> None:
    listener = Listener()
    assert gate.check(None, None, "T1", listener, accept=True).verdict == REFUSE
    assert listener.codes == ["quality_coverage", "quality_noise"]


def test_a_refused_scan_leaves_nothing_and_is_examined_when_accepted(
    scan_file: Path, small_bundle: Path, tmp_path: Path, half_a_brain: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["detect", str(scan_file), "--output", str(out), "--bundle", str(small_bundle), "--json"]
    assert cli.main(command) == EXIT_BAD_INPUT
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (error["event"], error["code"]) == ("error", gate.REFUSED)
    assert not out.exists()
    assert cli.main([*command, "--accept-any-scan"]) == EXIT_DONE
    report = json.loads((out / "report.json").read_text())
    assert report["quality"]["verdict"] == REFUSE and report["parameters"]["accept_any_scan"] is True
    assert "quality_coverage" in {warning["code"] for warning in report["warnings"]}


def test_the_option_is_part_of_the_job() -> None:
    job = DetectionJob(inputs=("a",), output="b", accept_any_scan=True)
    assert DetectionJob.from_json(json.loads(json.dumps(job.to_json()))) == job
    with pytest.raises(BadInput):
        DetectionJob(inputs=("a",), output="b", accept_any_scan="yes")
