"""A device that is none: tensors that say they lie on it, computed by the processor, and refused beside others.

    with SimulatedCard() as card:
        made = work(device=card.device)
    values = card.fetched(made)

It is as strict as a graphics card, and a little more: what is on it can only be computed with what is on it, too (or
with numbers and indices), and leaves it by a copy alone; and nothing large may be computed beside it. The results are
those of the processor, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

_DEVICE = torch.device("lazy")  # one of which PyTorch knows the name and nothing else
_COPIES = ("aten::_to_copy", "aten::copy_")
_FROM_OUTSIDE = ("aten::lift_fresh", "aten::detach", "aten::alias", "aten::view")  # what is known already
_INDEXED = ("aten::index", "aten::index_put_", "aten::slice", "aten::select")
_LARGE = 50_000  # elements that are computed on the card if there is one


class _OnCard(torch.Tensor):
    """A tensor that says it is on the card."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> _OnCard:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=_DEVICE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of the card's time")


class SimulatedCard(TorchDispatchMode):
    """While it is entered, there is a device more."""

    device = _DEVICE

    def __enter__(self) -> SimulatedCard:
        self._lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(..., device=...) copies before our eyes
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        torch._C._set_only_lift_cpu_tensors(self._lifted)

    def fetched(self, tensor: torch.Tensor) -> torch.Tensor:
        """What a tensor of the card holds. Raises AssertionError for one that is not there."""
        assert isinstance(tensor, _OnCard), "it was computed on the processor"
        return tensor.held

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Compute on the processor and say where that was."""
        kwargs = dict(kwargs or {})
        name = func._schema.name
        flat = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
        there = [each for each in flat if isinstance(each, _OnCard)]
        asked = kwargs.get("device")
        if asked is not None:
            kwargs["device"] = "cpu" if torch.device(asked).type == _DEVICE.type else asked
        if name not in _COPIES:
            self._check_together(name, args, flat, there)
        found = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if name.endswith("_"):
            return args[0]
        on_card = bool(there) if asked is None else torch.device(asked).type == _DEVICE.type
        if not on_card:
            self._check_size(name, found)
            return found
        return tree_map(lambda each: _OnCard(each) if isinstance(each, torch.Tensor) else each, found)

    def _check_together(self, name, args, flat, there) -> None:
        beside = [each for each in flat if not isinstance(each, _OnCard) and each.dim() > 0]
        if name in _INDEXED and isinstance(args[0], _OnCard):
            indices = {id(each) for each in tree_flatten(args[1])[0]} if len(args) > 1 else set()
            beside = [each for each in beside if id(each) not in indices]
        assert not (there and beside), f"{name} of tensors on the card and on the processor"

    def _check_size(self, name, found) -> None:
        sizes = [each.numel() for each in tree_flatten(found)[0] if isinstance(each, torch.Tensor)]
        assert name in (*_COPIES, *_FROM_OUTSIDE) or max(sizes, default=0) < _LARGE, f"{name} on the processor"


def _held(value: Any) -> Any:
    return value.held if isinstance(value, _OnCard) else value
