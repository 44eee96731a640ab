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


def stumble() -> None:
    raise ZeroDivisionError("oh")


def tell(said: Said):
    return lambda done, total, text: said.append((done, total, text))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_that_fails_does_not_stop_the_others(tmp_path: Path, jobs: int) -> None:
    said: Said = []
    tasks = [
        Task("a", partial(touch, tmp_path / "a")),
        Task("b", partial(refuse, BadInput)),
        Task("c", partial(touch, tmp_path / "c")),
    ]
    (failed,) = run_tasks(tasks, jobs, tell(said), done=4)
    assert (failed.id, failed.code, failed.message, failed.hint) == ("b", "a_code", "A sentence.", "A hint.")
    assert (tmp_path / "a").exists() and (tmp_path / "c").exists()
    assert [(done, total) for done, total, _ in said] == [(5, 7), (6, 7), (7, 7)]
    assert sorted(text for *_, text in said) == ["", "", "b: A sentence."]
    assert ((tmp_path / "a").read_text() == str(os.getpid())) == (jobs == 1)


def test_what_no_scan_can_escape_ends_the_run(tmp_path: Path) -> None:
    tasks = [Task("a", partial(refuse, BundleFailure)), Task("b", partial(touch, tmp_path / "b"))]
    with pytest.raises(BundleFailure, match="A sentence"):
        run_tasks(tasks, 1, tell([]))
    assert not (tmp_path / "b").exists()


def test_what_is_unforeseen_is_told_of_its_scan(capsys: pytest.CaptureFixture[str]) -> None:
    (failed,) = run_tasks([Task("a", stumble)], 1, tell([]))
    assert failed.code == "unforeseen"
    assert "ZeroDivisionError" in capsys.readouterr().err
