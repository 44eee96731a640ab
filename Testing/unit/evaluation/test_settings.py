from pathlib import Path
from types import SimpleNamespace

import pytest

from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.settings import PUBLISHED, Rule, Settings
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import BadInput

SCAN = Case("p", "set", "T1", Path("scan.nii.gz"))


def test_each_scan_is_changed_in_each_way() -> None:
    few = Settings(shifts=("noise", "resampled"), severities=(1, 5))
    assert [(t.case, t.corruption, t.severity) for t in few.trials([SCAN])] == [
        (SCAN, CLEAN, 0),
        (SCAN, "noise", 1),
        (SCAN, "noise", 5),
        (SCAN, "resampled", 0),
    ]
    assert [t.id for t in few.trials([SCAN])] == [
        "set-p-T1",
        *(f"set-p-T1+{n}" for n in ("noise-1", "noise-5", "resampled")),
    ]


def test_lesions_are_implanted_into_healthy_scans_alone_and_all_are_attacked() -> None:
    sick = Case("q", "set", "T1", Path("sick.nii.gz"), Path("truth.nii.gz"))
    asked = Settings(dose_response=True, adversarial=True)
    assert [t.id for t in asked.trials([SCAN, sick])] == [
        "set-p-T1",
        "set-p-T1+worst-case_changes",
        *(f"set-p-T1+implanted_lesions-{number}" for number in range(1, 5)),
        "set-q-T1",
        "set-q-T1+worst-case_changes",
    ]
    assert asked.changes and not Settings().changes


def test_every_bundle_judges_every_scan_by_the_published_protocol() -> None:
    trials = Settings(bundles=("a", "b"), protocol=PUBLISHED).trials([SCAN])
    assert [(t.case, t.bundle) for t in trials] == [(SCAN, 0), (SCAN, 1)]
    assert len({t.id for t in trials}) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shifts": ("nose",)}, "nose"),
        ({"severities": (6,)}, "6"),
        ({"seed": -1}, "--seed"),
        ({"precision": "fp8"}, "fp8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Settings(device="cpu", **wrong).resolved()


def test_all_that_decides_figures_is_recorded(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "maps").mkdir()
    usual = Settings(bundles=(str(small_bundle),), device="cpu").resolved()
    assert usual.precision in ("fp32", "bf16")
    asked = usual.to_json()
    changes = {
        "precision": "bf16" if usual.precision == "fp32" else "fp32",
        "seed": 1,
        "skull": "on",
        "baselines": ("random",),
        "maps": tmp_path / "maps",
        "maps_threshold": 2.0,
        "protocol": PUBLISHED,
        "shifts": ("noise",),
    }
    for name, value in changes.items():
        assert Settings(**{**vars(usual), name: value}).to_json() != asked, name
    assert Settings(**{**vars(usual), "severities": (1,)}).to_json() == asked  # others may follow
    monkeypatch.setattr("conddiffusion_uad.evaluation.settings.USUAL", 7.0)
    assert usual.to_json() != asked, "a version with another usual number of findings"


def test_other_maps_are_another_evaluation(small_bundle: Path, tmp_path: Path) -> None:
    asked = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.nii.gz").write_text("map")
        asked.append(Settings(bundles=(str(small_bundle),), maps=tmp_path / name).to_json())
    (tmp_path / "b" / "p.nii.gz").write_text("another map")
    asked.append(Settings(bundles=(str(small_bundle),), maps=tmp_path / "b").to_json())
    assert asked[0] != asked[1] != asked[2]
    assert Settings(bundles=(str(small_bundle),), maps=tmp_path / "b").to_json() == asked[2]


def test_a_bundle_is_judged_as_a_detection_runs_it_unless_all_methods_are_to_flag_alike() -> None:
    promise = ExpectedFindings((1.0, 3.5), (4.0, 0.5), 9)
    bundle = SimpleNamespace(name="quiet", expected={"T1": promise})
    assert Rule().threshold_of(bundle, "T1") == 3.5 and Rule().threshold == pytest.approx(2)
    assert Rule().threshold_of(bundle, "T2") == pytest.approx(2), "nothing is promised"
    alike = Rule(healthy_flagged=0.001)
    assert alike.threshold_of(bundle, "T1") == alike.threshold == pytest.approx(3)
