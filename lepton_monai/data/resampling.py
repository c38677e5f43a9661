"""From one grid in patient space to another, by linear interpolation at voxel centres."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.core.grid import Grid

SLAB_VOXELS = 2_000_000
"""Voxels that are interpolated at once: bounds the memory, not the result."""

Slab = tuple[int, int]
"""First and last place along the last axis, plus one."""


def slabs_of(shape: tuple[int, int, int]) -> list[Slab]:
    """Return the slabs of a grid, in order."""
    depth = max(1, SLAB_VOXELS // (shape[0] * shape[1]))
    return [(start, min(start + depth, shape[2])) for start in range(0, shape[2], depth)]


def on_slab(values: torch.Tensor, source: Grid, target: Grid, slab: Slab) -> torch.Tensor:
    """Interpolate values ``(channel, i, j, k)`` on a slab of another grid; outside their border goes on."""
    places = _places(source, target, slab)
    return torch.nn.functional.grid_sample(
        values[None],
        torch.from_numpy(_as_torch_counts(places, source.shape)).to(values.device)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )[0]


def on_grid(values: torch.Tensor, source: Grid, target: Grid) -> torch.Tensor:
    """Bring prepared values to a grid; where they don't reach they are 0.

    Parameters
    ----------
    values
        float32 ``(channel, i, j, k)`` on `source`.
    source, target
        In patient space. Where the target is coarser, a voxel takes the mean of those that it covers.

    Returns
    -------
    values : float32 tensor ``(channel, x, y, z)``
        On `target`.
    """
    values = _smoothed(values, source, target)
    parts = []
    for slab in slabs_of(target.shape):
        places = _places(source, target, slab)
        inside = ((places >= -0.5) & (places <= np.array(source.shape) - 0.5)).all(axis=-1)
        parts.append(on_slab(values, source, target, slab) * torch.from_numpy(inside))
    return torch.cat(parts, dim=-1)


def _smoothed(values: torch.Tensor, source: Grid, target: Grid) -> torch.Tensor:
    """Average over as many voxels, an odd number along each axis, as one of the target covers."""
    steps = np.abs(_relation(source, target)[:3, :3]).max(axis=1)
    sizes = [2 * int(step / 2) + 1 for step in steps]
    if max(sizes) == 1:
        return values
    return torch.from_numpy(ndimage.uniform_filter(values.numpy(), (1, *sizes), mode="nearest"))


def _relation(source: Grid, target: Grid) -> NDArray[np.float64]:
    # Target index to source index: one affine, in float64 until the last step.
    return np.asarray(np.linalg.inv(source.affine) @ target.affine)


def _places(source: Grid, target: Grid, slab: Slab) -> NDArray[np.float64]:
    """Return where each voxel of a slab of the target lies in the source, ``(i, j, k, 3)``."""
    relation = _relation(source, target)
    i, j, k = (
        np.arange(target.shape[0], dtype=np.float64),
        np.arange(target.shape[1], dtype=np.float64),
        np.arange(*slab, dtype=np.float64),
    )
    return np.asarray(
        relation[:3, 0] * i[:, None, None, None]
        + relation[:3, 1] * j[None, :, None, None]
        + relation[:3, 2] * k[None, None, :, None]
        + relation[:3, 3]
    )


def _as_torch_counts(places: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Count as `grid_sample` does: -1 and 1 are the outer centres, the last axis comes first."""
    last = np.maximum(np.array(shape, dtype=np.float64) - 1, 1)
    scaled = 2 * places / last - 1
    return np.ascontiguousarray(scaled[..., ::-1]).astype(np.float32)
