"""A trained model in the form in which it reconstructs fastest: the same function, for inference only."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.denoiser import Denoiser, ResidualBlock, beside, down_and_up
from conddiffusion_uad.model.fast.fused import FusedBlock, folded_modulation, normalized_activation
from conddiffusion_uad.model.fast.parallel import side_by_side

CACHE_BYTES = 2**22  # that one feature map of the samples computed together may take on a CPU
PART = 4  # samples at most, so that a batch has parts for all cores


def accelerated(model: ConditionedDiffusion, dtype: torch.dtype) -> ConditionedDiffusion:
    """A copy of the model with its denoiser in the fast form; the given one is left as it is.

    Args:
        model: Trained, in its plain form.
        dtype: In which convolutions compute; statistics, modulation, attention and the encoder stay in float32.

    Raises:
        TypeError: The model is accelerated already: the weights that it came from are needed.
    """
    if not isinstance(model.denoiser, Denoiser):
        raise TypeError("Only the plain form of a model can be accelerated.")
    fast = copy.copy(model)
    fast._modules = {name: copy.deepcopy(part) for name, part in model._modules.items() if name != "denoiser"}
    fast.denoiser = FastDenoiser(model.denoiser, dtype).to(model.device)  # which copies it, too
    return fast.eval().requires_grad_(False)


class FastDenoiser(nn.Module):
    """The function of a :class:`Denoiser`, without gradients.

    What makes it fast:

    - Layout: channels last throughout, as convolutions want it.
    - Fewer passes: the modulation of all blocks is one product, folded into the scale and shift of their
      normalizations; normalization and activation run while the sample is in the cache; doubled pixels are never
      convolved.
    - Parts: on a CPU each core has a part of the batch, with no more samples at once than its cache holds.
    - Precision: all feature maps between the first and the last layer are ``dtype``. Those two layers see and make the
      image itself, cost little and compute in float32.

    Args:
        denoiser: Trained; it is left as it is.
        dtype: The number format of feature maps and convolutions between the first and the last.
    """

    def __init__(self, denoiser: Denoiser, dtype: torch.dtype) -> None:
        super().__init__()
        source = copy.deepcopy(denoiser).float()
        self.dtype, self.divisor = dtype, source.divisor
        self.embed_level, self.embed_condition = source.embed_level, source.embed_condition
        self.to_patches, self.from_patches = source.to_patches, source.from_patches
        blocks = [block for block in source.modules() if isinstance(block, ResidualBlock)]  # in the order they run
        self.modulation = _all_modulations(blocks)
        self._widths = [block.norm_out.num_channels for block in blocks]

        self.stem, self.attention = source.stem, source.attention
        self.down = _fused(source.down)
        self.middle_in, self.middle_out = FusedBlock(source.middle_in), FusedBlock(source.middle_out)
        self.up = nn.ModuleList(_fused(stage) for stage in source.up if isinstance(stage, nn.ModuleList))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.stem:
                module.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's gap
        norm, _, self.head = source.head
        assert isinstance(norm, nn.GroupNorm)
        self.norm = norm

    def forward(
        self, noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :meth:`Denoiser.forward`; the estimate is float32."""
        embedding = torch.cat([self.embed_level(timestep), self.embed_condition(condition)], dim=1)
        modulation = self.modulation(functional.silu(embedding))
        seen = beside(noisy, context)
        together = self.together(seen)
        parts = list(zip(seen.split(together), modulation.split(together), strict=True))
        return torch.cat(side_by_side(lambda part: self._predict(*part), parts))

    def together(self, seen: torch.Tensor) -> int:
        """How many samples are computed as one part of a batch. It does not depend on the number of threads."""
        if seen.device.type != "cpu":
            return len(seen)
        pixels = seen.shape[2] * seen.shape[3] * self.to_patches.downscale_factor**-2
        fitting = round(CACHE_BYTES / (self.stem.out_channels * pixels * self.dtype.itemsize))
        return min(max(fitting, 1), PART)

    def _predict(self, seen: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """Predict some samples: what is seen of them (b, 1 + context, H, W), and scales and shifts of all blocks."""
        of_blocks = iter(modulation.split([2 * width for width in self._widths], dim=1))

        def run(block: nn.Module, h: torch.Tensor) -> torch.Tensor:
            scale, shift = next(of_blocks).chunk(2, dim=1)
            return block(h, scale, shift)

        h = self.stem(self.to_patches(seen).contiguous(memory_format=torch.channels_last)).to(self.dtype)
        h = down_and_up(self, h, run, self._attend)
        weight, bias = (values.expand(len(h), -1) for values in (self.norm.weight, self.norm.bias))
        h = normalized_activation(h.float(), self.norm.num_groups, weight, bias, self.norm.eps)
        return self.from_patches(self.head(h))

    def _attend(self, h: torch.Tensor) -> torch.Tensor:
        return self.attention(h.float()).to(dtype=self.dtype, memory_format=torch.channels_last)


def _fused(blocks: nn.ModuleList) -> nn.ModuleList:
    return nn.ModuleList(FusedBlock(block) for block in blocks if isinstance(block, ResidualBlock))


def _all_modulations(blocks: list[ResidualBlock]) -> nn.Linear:
    """One linear layer from the activated embedding to scale and shift of each block, one block after the other."""
    matrices, shifts = zip(*map(folded_modulation, blocks), strict=True)
    layer = nn.Linear(matrices[0].shape[1], sum(map(len, matrices)), device="meta")
    layer.weight, layer.bias = nn.Parameter(torch.cat(matrices)), nn.Parameter(torch.cat(shifts))
    return layer
