"""What goes wrong while the engine's environment is built: it is told by a code, and nothing is put in place."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import pytest
from building_site import Site
from tiny_wheels import make_wheel, registry


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("error: Failed to fetch: https://x/\n  cause: dns error\n  cause: error resolving DNS", "no_network"),
        ("WARNING: Retrying: Failed to establish a new connection: [Errno -3]\nERROR: No matching", "no_network"),
        ("  x No solution found when resolving dependencies:\n  `- connected-components-3d was not found", "no_wheels"),
        ("error: No solution found: networkx==3 is unusable", "no_wheels"),
        ("ERROR: No matching distribution found for uv", "no_wheels"),
        ("error: Failed to write: No space left on device (os error 28)", "disk_full"),
        ("error: Hash mismatch for `torch==2.13.0`", "download_broken"),
        ("error: failed to create directory: Permission denied (os error 13)", "cannot_write"),
        ("Segmentation fault", "install_failed"),
    ],
)
def test_why_a_command_failed_is_found_in_what_it_said(said: str, code: str) -> None:
    from CondDiffusionUADLib.run.Uv import CommandError

    assert CommandError(said).code == code


def test_a_wheel_that_is_missing_is_told(site: Site) -> None:
    (site.wheels / "tinyneed-1.0-py3-none-any.whl").unlink()
    event = site.build()[-1]
    assert event["code"] == "no_wheels" and "tinyneed" in event["message"] and not site.target.exists()


def test_a_wheel_that_is_damaged_is_told(site: Site) -> None:
    wheel = make_wheel(site.wheels, "tinyneed", filling=2000)
    wheel.write_bytes(wheel.read_bytes()[:40_000])
    event = site.build()[-1]
    assert event["code"] == "download_broken", event
    assert not site.target.exists()


def test_a_download_that_is_not_what_the_registry_promised_is_told(site: Site) -> None:
    with registry(site.wheels) as address:
        make_wheel(site.wheels, "tinyneed", filling=10)  # after the index was made
        site.started["UV_DEFAULT_INDEX"] = address
        event = site.build(wheels="", expected=10**9)[-1]
    assert event["code"] == "download_broken", event
    assert not site.target.exists()


def test_no_network_is_told(site: Site) -> None:
    site.started |= {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    event = site.build(wheels="")[-1]
    assert event["code"] == "no_network", event


@pytest.mark.parametrize("python", ["/no/such/python", sys.executable + "-not"])
def test_a_python_that_is_not_there_is_told(site: Site, python: str) -> None:
    event = site.build(python=python)[-1]
    assert event["code"] == "no_python" and python in event["message"]


def test_an_environment_that_does_not_work_is_not_put_in_place(site: Site) -> None:
    site.test.write_text("raise SystemExit('torch is for another processor')")
    event = site.build()[-1]
    assert event["code"] == "no_python" and "another processor" in event["message"] and not site.target.exists()


def test_too_little_room_is_told_before_anything_is_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run import BuildEnvironment
    from CondDiffusionUADLib.run.InstallationPlan import Console, Order

    monkeypatch.setattr(BuildEnvironment.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10**6}))
    told = r"0\.5 GB are needed, 0\.0 GB are free"
    with pytest.raises(BuildEnvironment.BuildError, match=told) as raised, ExitStack() as afterwards:
        BuildEnvironment.Builder(Order(**site.order()), Console(), afterwards).build()
    assert raised.value.code == "no_room" and site.left() == []


def test_too_little_room_for_the_packages_is_told_before_they_are_downloaded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import BuildEnvironment
    from CondDiffusionUADLib.run.InstallationPlan import Console, Order

    free = BuildEnvironment.LEAST_ROOM + 1
    monkeypatch.setattr(BuildEnvironment.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": free}))
    monkeypatch.setattr(BuildEnvironment.Builder, "_download", lambda *_: pytest.fail("it was downloaded"))
    with pytest.raises(BuildEnvironment.BuildError) as raised, ExitStack() as afterwards:
        BuildEnvironment.Builder(Order(**site.order()), Console(), afterwards).build()
    assert raised.value.code == "no_room" and site.left() == []


def build_with(site: Site, monkeypatch: pytest.MonkeyPatch, *pythons: tuple[str, str, bool], **order: Any) -> None:
    """Build with one of some Pythons: name, request, whether it has to be fetched."""
    from CondDiffusionUADLib.run import BuildEnvironment
    from CondDiffusionUADLib.run.InstallationPlan import Console, Order
    from CondDiffusionUADLib.run.PythonCandidates import Candidate

    monkeypatch.setattr(BuildEnvironment, "candidates", lambda *_: (Candidate(*python) for python in pythons))
    with ExitStack() as afterwards:
        BuildEnvironment.Builder(Order(**site.order(**order)), Console(), afterwards).build()


def test_the_next_python_is_tried_and_the_reasons_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run.Environment import readRecord

    build_with(site, monkeypatch, ("the first", "/no/such/python", False), ("the second", sys.executable, False))
    assert site.left() == []
    record = readRecord(site.target)
    assert record is not None and record.taken == "the second"
    ((name, why),) = record.refused
    assert name == "the first" and "/no/such/python" in why


FETCHED = ("the fetched one", "cpython-3.12", True)
FOUND = ("the one that is here", sys.executable, False)


@pytest.fixture
def unreachable(site: Site) -> Site:
    """No Python can be fetched there."""
    refused = {"UV_PYTHON_INSTALL_MIRROR": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    site.started |= refused
    return site


def test_where_a_python_cannot_be_fetched_one_that_is_there_is_taken(
    unreachable: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run.Environment import readRecord

    with registry(unreachable.wheels) as address:
        unreachable.started["UV_DEFAULT_INDEX"] = address
        build_with(unreachable, monkeypatch, FETCHED, FOUND, wheels="", expected=10**9)
    record = readRecord(unreachable.target)
    assert record is not None and record.taken == FOUND[0] and [name for name, _ in record.refused] == [FETCHED[0]]


def test_where_no_other_python_is_there_the_network_is_told(unreachable: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run.BuildEnvironment import BuildError

    with pytest.raises(BuildError) as raised:
        build_with(unreachable, monkeypatch, FETCHED, wheels="")
    assert raised.value.code == "no_network"
    with pytest.raises(BuildError, match=r"the gone one: .*the fetched one: ") as raised:
        build_with(unreachable, monkeypatch, ("the gone one", "/no/such/python", False), FETCHED, wheels="")
    assert raised.value.code == "no_python"


def test_with_a_folder_of_wheels_no_python_is_fetched(unreachable: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run.BuildEnvironment import BuildError
    from CondDiffusionUADLib.run.Environment import readRecord

    build_with(unreachable, monkeypatch, FETCHED, FOUND)
    record = readRecord(unreachable.target)
    assert record is not None and record.taken == FOUND[0] and record.refused == ()
    with pytest.raises(BuildError, match="there is none") as raised:
        build_with(unreachable, monkeypatch, FETCHED, replaces=record.made)
    assert raised.value.code == "no_python"
