"""From one grid in patient space to another, by linear interpolation at voxel centres."""

import math
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

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
    return _sampled(values, source.shape, _places(source, target, slab))


def on_grid(values: torch.Tensor, source: Grid, target: Grid, beyond: float) -> torch.Tensor:
    """Bring values to a grid.

    Parameters
    ----------
    values
        float32 ``(channel, i, j, k)`` on `source`.
    source, target
        In patient space. Where the target is coarser, a voxel takes the mean of as many places along each
        of its axes as it covers voxels there, rounded.
    beyond
        Where the source doesn't reach.

    Returns
    -------
    values : float32 tensor ``(channel, x, y, z)``
        On `target`.
    """
    covered = np.abs(_relation(source, target)[:3, :3]).max(axis=0)
    steps = [
        (np.arange(count) + 0.5) / count - 0.5 for count in np.maximum(np.rint(covered), 1).astype(int)
    ]
    parts = []
    for slab in slabs_of(target.shape):
        places = _places(source, target, slab)
        inside = ((places >= -0.5) & (places <= np.array(source.shape) - 0.5)).all(axis=-1)
        found = torch.zeros((values.shape[0], *inside.shape))
        for step in product(*steps):
            found += _sampled(values, source.shape, places + _relation(source, target)[:3, :3] @ step)
        found /= math.prod(len(one) for one in steps)
        parts.append(torch.where(torch.from_numpy(inside), found, beyond))
    return torch.cat(parts, dim=-1)


def _sampled(
    values: torch.Tensor, shape: tuple[int, int, int], places: NDArray[np.float64]
) -> torch.Tensor:
    """Interpolate at places ``(..., 3)``, counted in voxels."""
    return torch.nn.functional.grid_sample(
        values[None],
        torch.from_numpy(_as_torch_counts(places, shape)).to(values.device)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )[0]


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
