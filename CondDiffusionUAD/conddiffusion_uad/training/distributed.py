"""One training on several GPUs, or processes: `torchrun` starts them, each learns from its share of every batch.

All draw the same whole batch and take their share of it, gradients and the statistics of batch normalization are those
of the whole batch, and only the first process writes. So the result does not depend on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.failures import BadInput

_PATIENCE = timedelta(days=2)  # others wait for the first process to prepare the scans


class Processes:
    """The processes of a training."""

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

    def shard(self, items: torch.Tensor) -> torch.Tensor:
        """Of a batch, the items that this process is to learn from: every ``count``-th."""
        return items[self.rank :: self.count]

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a scalar over the processes."""
        if self.count > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value.item() / self.count

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether a flag is set in any of the processes, so that all do the same; exchanged on the device."""
        if self.count == 1:
            return flag
        flags = torch.tensor([float(flag)], device=device)
        distributed.all_reduce(flags)
        return bool(flags.item() > 0)

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            distributed.barrier()

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes; its batch normalization sees the whole batch."""
        if self.count == 1:
            return model
        on_cards = next(model.parameters()).device.type == "cuda"
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # in place: parameters, names and hooks stay
                module.__class__ = nn.SyncBatchNorm if on_cards else WholeBatchNorm2d
                module.process_group = None  # all processes
        return DistributedDataParallel(model)


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization over the batches of all processes on the CPU, where torch's SyncBatchNorm does not work."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features (B, C, H, W), normalized by the mean and variance over all processes."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        total, count = _Sum.apply(torch.cat([values.sum((0, 2, 3)), count])).split([self.num_features, 1])
        mean = total / count
        centered = values - mean[:, None, None]  # E[x^2] - E[x]^2 would lose a small variance beside a large mean
        variance = _Sum.apply(centered.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


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
