import threading
from collections.abc import Iterator

import pytest
import torch

from conddiffusion_uad.model.fast.parallel import side_by_side


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


def test_results_come_in_the_order_of_the_parts(threads: int) -> None:
    found = side_by_side(lambda part: part * 10, [torch.tensor(number) for number in range(20)])
    assert [int(value) for value in found] == list(range(0, 200, 10))
    assert torch.get_num_threads() == threads


def test_each_part_has_one_core(threads: int) -> None:
    meeting, used = threading.Barrier(threads), set()

    def work(part: int) -> torch.Tensor:
        meeting.wait(20)  # so many work at a time
        used.add(threading.current_thread().name)
        return torch.tensor(torch.get_num_threads())

    assert {int(value) for value in side_by_side(work, range(3 * threads))} == {1}
    assert len(used) == threads


def test_an_error_in_a_part_comes_out(threads: int) -> None:
    def work(part: int) -> torch.Tensor:
        raise ValueError(str(part))

    with pytest.raises(ValueError, match="0"):
        side_by_side(work, range(4))
