"""One training on several GPUs, or processes: `torchrun` starts them, each learns from its share of every batch.

All draw the same whole batch and take their share of it, gradients and the statistics of batch normalization are those
of the whole batch, and only the first process writes. So the result does not depend on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.failures import BadInput

Items = TypeVar("Items", torch.Tensor, list)
_PATIENCE = timedelta(days=2)  # others wait for the first process to prepare the scans


class Processes:
    """The processes of a training.

    Args:
        rank: Number of this one.
        count: How many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """Raise BadInput("bad_batch") when the processes cannot share a batch evenly."""
        if batch % self.count:
            raise BadInput(
                "bad_batch", f"{self.count} processes cannot share a batch of {batch}.", "Use a number that divides it."
            )

    def share(self, items: Items) -> Items:
        """Of a batch, the items that this process is to learn from."""
        return items[self.rank :: self.count]

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a scalar over the processes."""
        if self.count > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value.item() / self.count

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            distributed.barrier()

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes; its batch normalization sees the whole batch."""
        if self.count == 1:
            return model
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = WholeBatchNorm2d  # in place: parameters, names and hooks stay
        return DistributedDataParallel(model)


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization over the batches of all processes, on any device.

    Torch's own does the same on GPUs alone; this one is what the tests run, too.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        local = torch.cat([values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), count])
        total, squares, count = _Sum.apply(local).split([self.num_features, self.num_features, 1])
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        offset = self.bias - mean * scale
        return (values * scale[:, None, None] + offset[:, None, None]).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Sum over the processes; the gradient is summed alike."""

    @staticmethod
    def forward(_: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


@contextmanager
def processes(device_name: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that `torchrun` started, if it did, and choose the device of this one.

    Raises:
        BadInput: ``bad_option`` for an unknown device.
        DeviceFailure: The device is missing.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), choose(device_name)
        return
    cuda = torch.cuda.is_available() and device_name in ("auto", "cuda")
    device = choose(f"cuda:{os.environ['LOCAL_RANK']}" if cuda else device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count), device
    finally:
        distributed.destroy_process_group()
