"""The function of deepbet's networks (Fisch et al., Comput Biol Med 179:108845, 2024), for inference on whole heads.

A residual U-Net in three dimensions, each convolution followed by normalization over the volume. The package runs it
operation by operation; here each takes little more than its arithmetic, and much less memory:

- Pooling comes before the normalization and the activation that it commutes with, on an eighth of the voxels.
- Normalization and activation work in place, on channels that lie beside each other.
- The kernels are turned to the axes that a scan has in memory (z, y, x), not the scan to the kernels' (x, y, z).
- oneDNN convolves all maps; what torch chooses for small ones takes two to ten times as long.
- The last convolution makes no voxel twice: it is one product, of the difference of the two classes alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

LAST = torch.channels_last_3d
EPSILON = 1e-5  # of the normalization's variance
DOUBLED = (2, 1, 1)  # stride and paddings of transposed convolutions that double the voxels
LEVEL = "up3"  # whose transposed convolution leaves their number as it is


class BrainNetwork:
    """Tells brain from the rest of a head.

    Args:
        weights: By the names that the package gives them.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        kernel = f"{LEVEL}.tp_conv.0.weight"
        turned = {kernel: weights[kernel].transpose(0, 1).flip(2, 3, 4)}  # as a plain convolution
        self._weights = {name: _laid_out(values.detach()) for name, values in {**weights, **turned}.items()}

    @torch.inference_mode()
    def __call__(self, seen: torch.Tensor) -> torch.Tensor:
        """Whether each voxel is brain.

        Args:
            seen: Normalized intensities, float32 (Z, Y, X), each a multiple of 32, axes near S, A, R.
        """
        first = self._first(seen)
        skips = [self._down(first, "down0")]
        for level in ("down1", "down2", "down3"):
            skips.append(self._down(skips[-1], level))
        h = skips.pop()
        for level in ("up0", "up1", "up2"):
            h = self._up(h, level).add_(skips.pop())
        h = self._up(h, LEVEL).add_(first)
        h = functional.conv_transpose3d(h, self._of("tp_conv1.0"), self._weights["tp_conv1.0.bias"], *DOUBLED)
        h = _convolved(_active(_normal(h)), self._of("conv.0"), self._weights["conv.0.bias"])
        return self._classes(_active(_normal(h)))

    def _of(self, layer: str) -> torch.Tensor:
        return self._weights[f"{layer}.weight"]

    def _first(self, seen: torch.Tensor) -> torch.Tensor:
        """The largest of each 3 x 3 x 3 normalized values, every second one along each axis."""
        h = _convolved(seen[None, None], self._of("init.0"), stride=2).contiguous()
        flat = h.view(h.shape[1], -1)
        flat.sub_(flat.mean(1, keepdim=True))
        scales = _scales(torch.linalg.vector_norm(flat, dim=1), flat.shape[1])
        return _active(_pooled(h).mul_(scales.view(1, -1, 1, 1, 1))).contiguous(memory_format=LAST)

    def _down(self, h: torch.Tensor, level: str) -> torch.Tensor:
        return self._block(self._block(h, f"{level}.block1"), f"{level}.block2")

    def _block(self, h: torch.Tensor, block: str) -> torch.Tensor:
        first, second = (self._of(f"{block}.double_conv.{layer}") for layer in (0, 3))
        shortcut = self._weights.get(f"{block}.downsample.0.weight")
        inner = _active(_normal(_convolved(h, first, stride=1 if shortcut is None else 2)))
        inner = _normal(_convolved(inner, second))
        return _active(inner.add_(h if shortcut is None else _normal(_convolved(h, shortcut, stride=2))))

    def _up(self, h: torch.Tensor, level: str) -> torch.Tensor:
        h, kernel = _active(_normal(_convolved(h, self._of(f"{level}.conv1.0")))), self._of(f"{level}.tp_conv.0")
        h = _convolved(h, kernel) if level == LEVEL else functional.conv_transpose3d(h, kernel, None, *DOUBLED)
        return _active(_normal(_convolved(_active(_normal(h)), self._of(f"{level}.conv2.0"))))

    def _classes(self, h: torch.Tensor) -> torch.Tensor:
        """Each voxel becomes 2 x 2 x 2: which of them are more likely brain than not."""
        no, yes = self._of("tp_conv2").unbind(1)
        unlikely, likely = self._weights["tp_conv2.bias"]
        channels, z, y, x = h.shape[1:]
        kernel, limit = (yes - no).reshape(channels, -1), unlikely - likely
        found = torch.empty((z, 2, y, 2, x, 2), dtype=torch.bool, device=h.device)
        for plane, result in zip(_rows(h).split(y * x), found, strict=True):  # each while it is in the cache
            result.copy_((plane @ kernel > limit).view(y, x, 2, 2, 2).permute(2, 0, 3, 1, 4))
        return found.view(2 * z, 2 * y, 2 * x)


def _laid_out(values: torch.Tensor) -> torch.Tensor:
    """Kernels (out, in, x, y, z) as (out, in, z, y, x), as feature maps lie in memory; all else as it is."""
    if values.dim() != 5:
        return values
    turned = values.transpose(2, 4)
    return turned.contiguous(memory_format=LAST) if values.shape[1] > 1 else turned.contiguous()


def _convolved(
    h: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None = None, stride: int = 1
) -> torch.Tensor:
    """A convolution that leaves voxels at the rim where they are. On a processor by oneDNN, however small the maps."""
    padding = kernel.shape[2] // 2
    if h.device.type != "cpu" or not (torch.backends.mkldnn.is_available() and hasattr(torch, "mkldnn_convolution")):
        return functional.conv3d(h, kernel, bias, stride, padding)
    return torch.mkldnn_convolution(h, kernel, bias, (padding,) * 3, (stride,) * 3, (1,) * 3, 1)


def _rows(h: torch.Tensor) -> torch.Tensor:
    """Feature maps, channels last, as (voxels, channels) that share their values."""
    return h.permute(0, 2, 3, 4, 1).view(-1, h.shape[1])


def _normal(h: torch.Tensor) -> torch.Tensor:
    """Feature maps with mean 0 and variance 1 in each channel, changed in place if they are channels last."""
    h = h.contiguous(memory_format=LAST)
    rows = _rows(h)
    rows.sub_(rows.mean(0))
    rows.mul_(_scales(torch.linalg.vector_norm(rows, dim=0), len(rows)))
    return h


def _scales(norms: torch.Tensor, count: int) -> torch.Tensor:
    """What brings so many values, of mean 0 and such norms, to variance 1."""
    return (norms.square() / count + EPSILON).rsqrt()


def _active(h: torch.Tensor) -> torch.Tensor:
    return h.clamp_min_(0)


def _pooled(h: torch.Tensor) -> torch.Tensor:
    """The largest of three neighbors along each axis, around every second of them; torch's takes thrice the time."""
    for axis in (2, 3, 4):
        even, odd = (h.unflatten(axis, (-1, 2)).select(axis + 1, which) for which in (0, 1))
        length = odd.shape[axis] - 1
        h = torch.maximum(even, odd)
        later = h.narrow(axis, 1, length)
        torch.maximum(later, odd.narrow(axis, 0, length), out=later)
    return h
