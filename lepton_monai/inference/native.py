"""Back to the source grid: what the network said, at the centre of every source voxel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lepton_monai.core.grid import Grid
from lepton_monai.data.resampling import on_slab, slabs_of


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
    classes = np.zeros(source.shape, dtype=np.uint8, order="F")
    for slab in slabs_of(source.shape):
        sampled = on_slab(found[0].array, found[0].grid, source, slab)
        for one in found[1:]:
            sampled += on_slab(one.array, one.grid, source, slab)
        classes[:, :, slice(*slab)] = sampled.argmax(dim=0).to(torch.uint8).cpu().numpy()
    return classes
