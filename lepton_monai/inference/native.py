"""Back to the source grid: what the network said, at the centre of every source voxel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lepton_monai.core.grid import Grid

SLAB_VOXELS = 2_000_000
"""Source voxels that are interpolated at once: bounds the memory, not the result."""


@dataclass(frozen=True, eq=False)
class Probabilities:
    """What one network said: float32 ``(class, x, y, z)`` on its grid."""

    array: torch.Tensor
    grid: Grid


def classes_on_grid(found: Sequence[Probabilities], source: Grid) -> NDArray[np.uint8]:
    """Interpolate class probabilities linearly and take the largest of their mean, slab by slab.

    Parameters
    ----------
    found
        Of each network, on any grid in patient space.
    source
        The grid of the mask; a voxel outside of a network's grid takes its border.

    Returns
    -------
    classes : uint8 array ``(i, j, k)``
        On the source grid, in Fortran order; 0 is the background.
    """
    shape = source.shape
    classes = np.zeros(shape, dtype=np.uint8, order="F")
    depth = max(1, SLAB_VOXELS // (shape[0] * shape[1]))
    for start in range(0, shape[2], depth):
        slab = (start, min(start + depth, shape[2]))
        sampled = _on_slab(found[0], source, slab)
        for one in found[1:]:
            sampled += _on_slab(one, source, slab)
        classes[:, :, slice(*slab)] = sampled.argmax(dim=0).to(torch.uint8).cpu().numpy()
    return classes


def _on_slab(one: Probabilities, source: Grid, slab: tuple[int, int]) -> torch.Tensor:
    # Source index to network index: one affine, in float64 until the last step.
    relation = np.linalg.inv(one.grid.affine) @ source.affine
    place = _sampling_places(relation, source.shape, slab, one.grid.shape)
    return torch.nn.functional.grid_sample(
        one.array[None],
        place.to(one.array.device)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )[0]


def _sampling_places(
    relation: NDArray[np.float64],
    shape: tuple[int, int, int],
    slab: tuple[int, int],
    network_shape: tuple[int, int, int],
) -> torch.Tensor:
    """Return where each voxel of a slab lies, ``(i, j, k, 3)``, as `grid_sample` wants it."""
    i, j, k = (
        np.arange(shape[0], dtype=np.float64),
        np.arange(shape[1], dtype=np.float64),
        np.arange(*slab, dtype=np.float64),
    )
    index = (
        relation[:3, 0] * i[:, None, None, None]
        + relation[:3, 1] * j[None, :, None, None]
        + relation[:3, 2] * k[None, None, :, None]
        + relation[:3, 3]
    )
    # With aligned corners -1 and 1 are the centres of the first and the last voxel.
    last = np.maximum(np.array(network_shape, dtype=np.float64) - 1, 1)
    scaled = 2 * index / last - 1
    # grid_sample names the axes from the last to the first.
    return torch.from_numpy(np.ascontiguousarray(scaled[..., ::-1]).astype(np.float32))
