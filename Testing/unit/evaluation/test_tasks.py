import os
from functools import partial
from pathlib import Path

import pytest

from conddiffusion_uad.evaluation.tasks import Task, run_tasks
from conddiffusion_uad.protocol.failures import BadInput, BundleFailure

Said = list[tuple[int, int, str]]


def touch(path: Path) -> None:
    path.write_text(str(os.getpid()))


def refuse(kind: type) -> None:
    raise kind("a_code", "A sentence.", "A hint.")


def die(path: Path) -> None:
    path.write_text("was here")
    os._exit(9)


def stumble() -> None:
    raise ZeroDivisionError("oh")


def tell(said: Said):
    return lambda done, total, text: said.append((done, total, text))


def test_a_task_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    said: Said = []
    tasks = [
        Task("a", partial(touch, tmp_path / "a")),
        Task("b", partial(refuse, BadInput)),
        Task("c", partial(touch, tmp_path / "c")),
    ]
    (failed,) = run_tasks(tasks, 1, tell(said), done=4)
    assert (failed.id, failed.code, failed.message, failed.hint) == ("b", "a_code", "A sentence.", "A hint.")
    assert said == [(5, 7, ""), (6, 7, "b: A sentence."), (7, 7, "")]
    assert (tmp_path / "a").read_text() == (tmp_path / "c").read_text() == str(os.getpid())


def test_what_no_scan_can_escape_ends_the_run(tmp_path: Path) -> None:
    tasks = [Task("a", partial(refuse, BundleFailure)), Task("b", partial(touch, tmp_path / "b"))]
    with pytest.raises(BundleFailure, match="A sentence"):
        run_tasks(tasks, 1, tell([]))
    assert not (tmp_path / "b").exists()


def test_what_is_unforeseen_is_told_of_its_scan(capsys: pytest.CaptureFixture[str]) -> None:
    (failed,) = run_tasks([Task("a", stumble)], 1, tell([]))
    assert failed.code == "unforeseen"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_killed_process_fails_only_its_own_scan(tmp_path: Path) -> None:
    said: Said = []
    tasks = [Task(name, partial(touch, tmp_path / name)) for name in "ac"]
    tasks.insert(1, Task("killed", partial(die, tmp_path / "killed")))
    tasks.append(Task("b", partial(refuse, BadInput)))
    failed = run_tasks(tasks, 2, tell(said))
    assert sorted((each.id, each.code) for each in failed) == [("b", "a_code"), ("killed", "process_killed")]
    assert all((tmp_path / name).exists() for name in ("a", "c", "killed"))
    assert str(os.getpid()) not in {(tmp_path / name).read_text() for name in ("a", "c")}
    assert [done for done, _, _ in said] == [1, 2, 3, 4]
