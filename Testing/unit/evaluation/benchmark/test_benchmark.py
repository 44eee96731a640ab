import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from conddiffusion_uad.app import cli
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.benchmark import network, speed, stages, tables
from conddiffusion_uad.evaluation.benchmark.brain import synthetic_brain
from conddiffusion_uad.model.denoiser import Denoiser
from conddiffusion_uad.model.fast.inference import accelerated
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.failures import Failure
from conddiffusion_uad.protocol.job import DetectionJob

CPU = torch.device("cpu")


def test_convolutions_are_measured_at_the_widths_and_sizes_of_the_network() -> None:
    denoiser = Denoiser(8, base=48, multipliers=(1, 2, 2), blocks=2, head_channels=32, groups=8, patch=2)
    assert speed.shapes(denoiser, 96, 80) == [(48, 48, 40), (48, 24, 20), (96, 24, 20), (96, 12, 10)]


def test_flop_are_those_of_a_convolution_counted_by_hand() -> None:
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    assert speed.counted_flop(lambda: layer(torch.zeros(2, 3, 10, 12))) == 2 * 9 * 3 * 5 * 2 * 10 * 12


def test_flop_are_counted_whatever_threads_compute(small_bundle: Path) -> None:
    model = accelerated(bundles.load(str(small_bundle)).model, torch.float32)
    image, usual = Slices.of(torch.rand(9, 1, 32, 32)), torch.get_num_threads()
    given = image, torch.full((9,), 200), torch.rand_like(image.image), model.encoder(image)
    counted = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            counted.append(speed.counted_flop(lambda: model(*given)))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(usual)
    assert counted[0] == counted[1] > 0


def test_variants_run_in_turns_after_one_run_that_does_not_count() -> None:
    calls: list[str] = []
    seconds = speed.in_turns([lambda: calls.append("a"), lambda: calls.append("b")], CPU, 2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert len(seconds) == 2 and all(len(pair) == 2 for pair in seconds)


def test_one_thread_is_measured_by_what_it_computes_and_several_by_what_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, most, least in ((1, 0.04, 0.0), (2, 10.0, 0.049)):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        assert least <= speed.seconds_of(lambda: time.sleep(0.05), CPU) < most


def test_the_forms_of_a_bundles_network_are_measured_beside_the_ceiling(small_bundle: Path) -> None:
    plain, exact, quick = network.measure_bundle(str(small_bundle), CPU, slices=2, rounds=1)
    assert [each.form for each in (plain, exact, quick)] == ["plain fp32", "fast fp32", "fast bf16"]
    assert plain.ratio == 1 and plain.error == 0 and exact.error < 1e-5 and quick.error < 0.01
    assert exact.flop < plain.flop
    assert plain.share == pytest.approx(plain.flop / plain.seconds / plain.ceiling)


def test_a_whole_detection_is_measured_stage_by_stage(small_bundle: Path, scan_file: Path) -> None:
    job = DetectionJob(inputs=(str(scan_file),), output="-", bundle=str(small_bundle), device="cpu")
    found = stages.measure(job, 1)
    assert found.first.keys() == found.again.keys() >= {"read", "strip", "register", "reconstruct", "report"}
    assert found.bundle == small_bundle.name and found.first["load"] > found.again["load"]
    assert stages.beside_network({"read": 2.0, "reconstruct": 4.0, "report": 1.0}) == 0.75
    learned = {"read": 2.0, "reconstruct": 4.0, "score": 1.0, stages.MAP: 2.0}
    assert stages.beside_network(learned) == 0.5
    table = tables.text({"machine": tables.machine(), "stages": [asdict(found)]})
    assert "Everything else takes" in table and all(stage in table for stage in found.first)
    with pytest.raises(Failure, match="There is no"):
        stages.measure(DetectionJob(inputs=("absent_T1.nii",), output="-", bundle=str(small_bundle)), 1)


def test_the_synthetic_brain_is_normalized() -> None:
    volume, mask = synthetic_brain((24, 32, 10), 4)
    assert volume.shape == mask.shape == (4, 32, 24)
    assert volume.min() >= 0 and volume.max() <= 1 and 0.3 < mask.mean() < 0.8 and not volume[~mask].any()


def test_the_table_names_all_that_was_measured(small_bundle: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--no-paper", "--no-stages", "--slices", "1", "--rounds", "1", "--device", "cpu"]
    assert cli.main(["benchmark", "--bundle", str(small_bundle), *options]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("plain fp32", "fast bf16", "ceiling", "GFLOP/s", small_bundle.name))
