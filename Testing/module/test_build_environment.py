"""The process that builds the engine's environment, with a real uv and packages of a few bytes: whole or not there."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from building_site import Site, wait_for
from tiny_wheels import LITTER, TEST, make_uv_wheel, make_wheel, registry


def test_an_environment_is_built_from_a_folder_of_wheels(site: Site) -> None:
    from CondDiffusionUADLib.run.Environment import pythonIn, readRecord

    events = site.build()
    assert events[-1] == {"event": "done", "environment": str(site.target)}, (events, site.said)
    assert [event.get("name") for event in events[:-1]] == ["uv", "python", "resolve", "download", "try", None]
    record = readRecord(site.target)
    assert record is not None and record.torch == "1.0" and record.refused == ()
    assert record.taken == f"the Python that was named, {sys.executable}"
    script = "import tinytorch, tinyneed, sys; print(sys.prefix)"
    done = subprocess.run([pythonIn(site.target), "-c", script], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).samefile(site.target), "it works under its final name"


def test_what_another_slicer_built_meanwhile_is_taken_and_a_repair_makes_it_anew(site: Site) -> None:
    from CondDiffusionUADLib.run.Environment import readRecord

    site.build()
    first = readRecord(site.target)
    assert first is not None
    assert [event["event"] for event in site.build()] == ["done"]
    assert readRecord(site.target) == first
    (site.target / "broken").touch()
    assert site.build(replaces=first.made)[-1]["event"] == "done"
    second = readRecord(site.target)
    assert second is not None and second.made > first.made and not (site.target / "broken").exists()


def test_what_the_system_binds_a_package_to_is_kept(site: Site, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Environment import pythonIn

    make_wheel(site.wheels, "tinyneed", "2.0")
    bounds = tmp_path / "bounds.txt"
    bounds.write_text("tinyneed<2")
    site.started["UV_CONSTRAINT"] = str(bounds)
    assert site.build()[-1]["event"] == "done"
    script = "import tinyneed; print(tinyneed.VERSION)"
    done = subprocess.run([pythonIn(site.target), "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0"


def test_a_failed_repair_leaves_what_was_there(site: Site) -> None:
    from CondDiffusionUADLib.run.Environment import readRecord

    site.build()
    first = readRecord(site.target)
    assert first is not None
    (site.wheels / "tinyneed-1.0-py3-none-any.whl").unlink()
    assert site.build(replaces=first.made)[-1]["code"] == "no_wheels"
    assert readRecord(site.target) == first


def test_an_environment_is_built_from_a_registry_whose_size_is_asked_about(site: Site) -> None:
    with registry(site.wheels) as address:
        site.started["UV_DEFAULT_INDEX"] = address
        process = site.begin(wheels="", expected=1)
        assert process.stdout is not None and process.stdin is not None
        events: list[dict[str, Any]] = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "question":
                assert events[-1]["download"] > 0 and events[-1]["disk"] > events[-1]["download"]
                process.stdin.write('{"answer": true}\n')
                process.stdin.flush()
        assert process.wait(30) == 0, (events, process.stderr.read() if process.stderr else "")
    assert [event["event"] for event in events].count("question") == 1 and site.left() == []
    downloads = [event["done"] for event in events if event.get("name") == "download"]
    assert downloads == sorted(downloads) and downloads[-1] == events[-4].get("total", downloads[-1])


def test_a_download_that_is_declined_leaves_nothing(site: Site) -> None:
    with registry(site.wheels) as address:
        site.started["UV_DEFAULT_INDEX"] = address
        process = site.begin(wheels="", expected=1)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write('{"answer": false}\n')
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout]
    assert events[-1]["code"] == "declined" and not site.target.exists() and site.left() == []


PIP_CONFIGURATION = r"""
[global]
index-url = https://mirror/simple
extra-index-url =
    https://a
    https://b
find-links = \\server\wheels
    C:\wheels
trusted-host = mirror
timeout = 60
[install]
no-index = true
trusted-host =
    a
    b
[download]
timeout = 1
"""


def pip_list(configuration: Path, **variables: str) -> str:
    """What pip really says of a configuration file and of variables."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    told = {**others, "PIP_CONFIG_FILE": str(configuration), **variables}
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout


def test_what_the_system_tells_pip_reaches_uv(tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Uv import uvVariables

    configuration = tmp_path / "pip.conf"
    configuration.write_text(PIP_CONFIGURATION)
    told = pip_list(configuration, PIP_CERT="/my certs.pem", PIP_PROXY="http://o'proxy:3128")
    started = {"PYTHONHOME": "/slicer", "UV_DEFAULT_INDEX": "https://mine", "A": "b"}
    variables = uvVariables(started, told, tmp_path, tmp_path)
    assert variables["UV_DEFAULT_INDEX"] == "https://mine", "what uv is told itself comes first"
    assert variables["UV_INDEX"] == "https://a https://b" and variables["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert variables["UV_FIND_LINKS"] == r"\\server\wheels,C:\wheels" and variables["UV_NO_INDEX"] == "true"
    assert variables["UV_INSECURE_HOST"] == "a b" and variables["UV_HTTP_TIMEOUT"] == "60", "it is an installation"
    assert variables["SSL_CERT_FILE"] == "/my certs.pem" and variables["ALL_PROXY"] == "http://o'proxy:3128"
    assert "PYTHONHOME" not in variables and variables["A"] == "b"


def test_what_a_variable_tells_pip_wins_over_its_configuration(tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Uv import uvVariables

    configuration = tmp_path / "pip.conf"
    configuration.write_text(PIP_CONFIGURATION)
    told = pip_list(configuration, PIP_INDEX_URL="https://of/a/variable", PIP_TRUSTED_HOST="c d")
    variables = uvVariables({}, told, tmp_path, tmp_path)
    assert variables["UV_DEFAULT_INDEX"] == "https://of/a/variable" and variables["UV_INSECURE_HOST"] == "c d"
    assert (
        "/simple" in uvVariables({}, pip_list(configuration, PIP_INDEX_URL=""), tmp_path, tmp_path)["UV_DEFAULT_INDEX"]
    )
    told = "WARNING: A line of another kind.\nglobal.proxy=as no text is written\n"
    assert uvVariables({}, told, tmp_path, tmp_path)["ALL_PROXY"] == "as no text is written"


@pytest.mark.parametrize("way", ["cancel", "close"])
def test_a_canceled_installation_leaves_nothing(site: Site, way: str) -> None:
    site.test.write_text("import time; time.sleep(60)")
    process = site.begin()
    wait_for(process, "try")
    assert process.stdin is not None and process.stdout is not None
    started = time.monotonic()
    if way == "cancel":
        process.stdin.write("cancel\n")
        process.stdin.flush()
    else:
        process.stdin.close()
    assert process.wait(10) == 1 and time.monotonic() - started < 3
    assert json.loads(process.stdout.readlines()[-1])["code"] == "cancelled"
    assert list(site.engine.iterdir()) == []


def test_what_is_in_place_stays_when_tidying_up_is_canceled(site: Site) -> None:
    from CondDiffusionUADLib.run.Environment import readRecord

    site.test.write_text(LITTER + TEST)
    process = site.begin()
    assert process.stdin is not None and process.stdout is not None
    events = [json.loads(process.stdout.readline())["event"]]
    while events[-1] in ("step", "settled"):
        events.append(json.loads(process.stdout.readline())["event"])
    left = site.left()
    process.stdin.write("cancel\n")
    process.stdin.close()
    assert events[-2:] == ["settled", "done"] and any(name.startswith(".work-") for name in left), left
    assert process.wait(30) == 0 and process.stdout.read() == "" and site.left() == []
    assert readRecord(site.target) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
def test_what_a_killed_installation_left_is_swept_but_not_one_that_is_under_way(site: Site) -> None:
    site.test.write_text("import time; time.sleep(60)")
    killed = site.begin()
    wait_for(killed, "try")
    sweeping = site.begin(sweep=True)
    assert sweeping.wait(30) == 0 and site.left() != [], "it is under way"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert site.left() != []
    process = site.begin(sweep=True)
    assert process.wait(30) == 0 and site.left() == []


def test_another_slicer_that_installs_is_waited_for(site: Site) -> None:
    site.test.write_text("import time; time.sleep(2)\n" + TEST)
    first = site.begin()
    wait_for(first, "try")
    second = site.begin()
    assert second.stdout is not None
    events = [json.loads(line) for line in second.stdout]
    assert [event.get("name") or event["event"] for event in events] == ["wait", "done"]
    assert first.wait(30) == 0 and second.wait(30) == 0 and site.left() == []


def test_an_environment_made_by_hand_is_tried(site: Site) -> None:
    site.test.write_text(TEST.replace("import tinytorch", "class tinytorch: VERSION = '2'"))
    event = site.build(existing=sys.executable)[-1]
    assert event["event"] == "done" and event["record"]["torch"] == "2" and not site.engine.exists()
    site.test.write_text("raise SystemExit('no torch')")
    event = site.build(existing=sys.executable)[-1]
    assert event["code"] == "unusable" and event["message"] == "no torch"


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a shell script")
def test_uv_is_unpacked_from_its_wheel_and_kept(site: Site, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Uv import CommandError, Commands, fetchUv

    make_uv_wheel(site.wheels, '#!/bin/sh\necho "uv 0.13.9"\n')
    site.engine.mkdir()
    for number in (1, 2):
        work = tmp_path / f"work{number}"
        work.mkdir()
        program = fetchUv(Commands(lambda line: None), site.engine, work, site.wheels, "", dict(os.environ))
        assert program == site.engine / "uv" / "uv" and os.access(program, os.X_OK)
        assert (list(work.glob("*.whl")) == []) == (number == 2), "the second time it is there"
    program.write_text("damaged")
    make_uv_wheel(site.wheels, "")
    (site.wheels / "uv-0.13.9-py3-none-any.whl").write_bytes(b"PK no archive")
    work = tmp_path / "work3"
    work.mkdir()
    with pytest.raises(CommandError):
        fetchUv(Commands(lambda line: None), site.engine, work, site.wheels, "", dict(os.environ))


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a shell script")
@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["macosx_10_12_x86_64"], "macosx_10_12_x86_64"),
        (["macosx_10_12_x86_64", "macosx_11_0_arm64"], "macosx_11_0_arm64"),
    ],
)
def test_on_an_apple_processor_a_uv_for_intels_will_do(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offered: list[str], taken: str
) -> None:
    from CondDiffusionUADLib.run import Uv

    for platform in offered:
        wheel = make_uv_wheel(site.wheels, '#!/bin/sh\necho "uv 0.13.9"\n')
        wheel.rename(site.wheels / f"uv-0.13.9-py3-none-{platform}.whl")
    monkeypatch.setattr(Uv, "isAppleSilicon", lambda: True)
    site.engine.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    Uv.fetchUv(Uv.Commands(lambda line: None), site.engine, work, site.wheels, "", dict(os.environ))
    assert [wheel.name for wheel in work.glob("*.whl")] == [f"uv-0.13.9-py3-none-{taken}.whl"]


def test_the_engine_imports_nothing_that_its_environment_leaves_out() -> None:
    from CondDiffusionUADLib.run import BuildEnvironment

    modules = {name.replace("-", "_") for name in BuildEnvironment.NOT_NEEDED} | {"cc3d"}
    engine = Path(BuildEnvironment.__file__).parents[2] / "conddiffusion_uad"
    files = [file for file in engine.rglob("*.py") if not {"training", "evaluation"} & set(file.parts)]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert "torch" in imported and not modules & {name.partition(".")[0] for name in imported}
