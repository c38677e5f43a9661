"""Instance norm that copies no image on a CPU."""

import math
from typing import Any

import torch

VOXELS_A_ROW = 64
"""At most: torch's kernels are up to six times as fast on long rows than on one voxel's few channels."""


class DirectInstanceNorm(torch.nn.Module):
    """torch's instance norm, faster in float32 on a CPU where channels come last; weights keep their names.

    torch computes it as batch norm of a view that only channels first allow: an image whose channels come
    last is copied there and back, forwards and backwards, and what follows copies it once more
    (docs/decisions/0006).

    Parameters
    ----------
    norm
        Whose place it takes, and whose parameters it keeps.
    """

    def __init__(self, norm: torch.nn.InstanceNorm3d) -> None:
        super().__init__()
        self.weight: torch.Tensor | None = norm.weight
        self.bias: torch.Tensor | None = norm.bias
        self.eps = norm.eps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images, ``(n, channel, x, y, z)``, with each channel of each at mean 0 and deviation 1."""
        if images.device.type != "cpu" or images.dtype != torch.float32 or not _has_channels_last(images):
            return torch.nn.functional.instance_norm(
                images, weight=self.weight, bias=self.bias, eps=self.eps
            )
        channels = images.shape[1]
        weight = torch.ones(channels) if self.weight is None else self.weight
        bias = torch.zeros(channels) if self.bias is None else self.bias
        normalised: torch.Tensor = _ChannelsLast.apply(images, weight, bias, self.eps)  # type: ignore[no-untyped-call] # torch has no types here
        return normalised


def with_direct_norms(network: torch.nn.Module) -> torch.nn.Module:
    """Put :class:`DirectInstanceNorm` in the place of every 3D instance norm that keeps no statistics."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.InstanceNorm3d) and not child.track_running_stats:
                setattr(module, name, DirectInstanceNorm(child))
    return network


def _has_channels_last(images: torch.Tensor) -> bool:
    # Of a single voxel both layouts are one, and only torch's own refuses to normalise it.
    return images.is_contiguous(memory_format=torch.channels_last_3d) and not images.is_contiguous()


class _ChannelsLast(torch.autograd.Function):
    """The norm and its gradient on rows of voxels, as the image lies in memory."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> torch.Tensor:
        """In two passes, since the mean of squares less the square of the mean loses digits."""
        channels = images.shape[1]
        rows = _rows(images)
        voxels = images[0, 0].numel()
        centred = rows - _for_rows(_over_voxels(rows, channels) / voxels, rows)
        variance = _over_voxels(centred * centred, channels) / voxels
        inverse_deviation = torch.rsqrt(variance + eps)
        ctx.save_for_backward(centred, weight, inverse_deviation)
        scale = _for_rows(weight * inverse_deviation, rows)
        out = torch.empty_like(images)  # no view: what follows may change it in place
        torch.addcmul(_for_rows(bias[None], rows), centred, scale, out=_rows(out))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """Ioffe and Szegedy, ICML 2015, section 3, for the statistics of one image: dx = a dy + b x + c."""
        centred, weight, inverse_deviation = ctx.saved_tensors
        channels, voxels = gradient.shape[1], gradient[0, 0].numel()
        rows = _rows(gradient)
        total = _over_voxels(rows, channels)
        with_normalised = _over_voxels(rows * centred, channels) * inverse_deviation
        of_gradient = weight * inverse_deviation
        of_image = -of_gradient * inverse_deviation * with_normalised / voxels
        constant = -of_gradient * total / voxels
        a, b, c = (_for_rows(one, rows) for one in (of_gradient, of_image, constant))
        found = torch.addcmul(c, centred, b).addcmul_(rows, a)
        size = (gradient.shape[0], *gradient.shape[2:], channels)
        of_images = found.view(size).permute(0, 4, 1, 2, 3)
        return of_images, with_normalised.sum(0), total.sum(0), None


def _rows(images: torch.Tensor) -> torch.Tensor:
    """View images as ``(n, row, channels of some voxels)``."""
    count, channels = images.shape[:2]
    width = channels * math.gcd(images[0, 0].numel(), VOXELS_A_ROW)
    return images.permute(0, 2, 3, 4, 1).reshape(count, -1, width)


def _over_voxels(rows: torch.Tensor, channels: int) -> torch.Tensor:
    """Sum rows over voxels: ``(n, channel)``."""
    return rows.sum(1).view(rows.shape[0], -1, channels).sum(1)


def _for_rows(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Repeat values, ``(n, channel)``, for each voxel of a row."""
    repeats = rows.shape[2] // values.shape[1]
    return values.repeat(1, repeats)[:, None]
