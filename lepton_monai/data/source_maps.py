"""From a coarse map over the network's input back to the voxels of the source."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.core.grid import Grid
from lepton_monai.data.inputs import step_of
from lepton_monai.plans.classification import InputPlan

Array = NDArray[np.float32]


def on_source(
    cells: Array,
    shift: Sequence[float],
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    plan: InputPlan,
) -> Array:
    """Lay cells that cover the network's input evenly over the image that it was made of.

    Parameters
    ----------
    cells
        ``(x, y)`` of a flat input, else ``(x, y, z)``.
    shift
        By how many voxels of the input all cells lie further along each axis.
    shape, spacing_mm
        Of the source, as `SourceImage` has them.
    plan
        By which `fit` made the input.

    Returns
    -------
    values
        Linear between the middles of the cells, as many axes as `cells`; 0 where the network saw nothing.
    """
    source = np.array(shape[: cells.ndim])
    step = step_of(shape, spacing_mm, plan)
    reach = step * plan.size[: cells.ndim] / 2
    matrix = np.array(cells.shape) / (2 * reach)  # cells a source voxel
    # All grids share their middle: that of `fit`, moved by the shift.
    offset = (np.array(cells.shape) - 1) / 2 - ((source - 1) / 2 + np.array(shift) * step) * matrix
    values = ndimage.affine_transform(
        cells, matrix, offset, output_shape=tuple(source.tolist()), order=1, mode="nearest"
    )
    for axis, (extent, half) in enumerate(zip(source, reach, strict=True)):
        is_seen = np.abs(np.arange(extent) - (extent - 1) / 2) <= half
        values *= is_seen.reshape([-1 if other == axis else 1 for other in range(cells.ndim)])
    return np.asarray(values, dtype=np.float32)


def outside_share(
    cells: Array,
    shift: Sequence[float],
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    plan: InputPlan,
) -> float:
    """Return which share of a map lies where the input went on beyond the image; NaN of an empty map."""
    size = plan.size[: cells.ndim]
    whole = InputPlan(plan.size, None, plan.channels, plan.scale)
    over_input = on_source(cells, shift, size, (1.0,) * cells.ndim, whole).astype(np.float64)
    total = float(over_input.sum())
    step = step_of(shape, spacing_mm, plan)
    inside = tuple(
        np.abs(np.arange(extent) - (extent - 1) / 2) * one <= source / 2
        for extent, one, source in zip(size, step, shape, strict=False)
    )
    return 1.0 - float(over_input[np.ix_(*inside)].sum()) / total if total else float("nan")


def as_acquired(array: Array, grid: Grid) -> Array:
    """Turn an array with axes towards R, A and S back to the axes of its grid: undoes `source_of`."""
    axes, signs = grid.nearest_ras()
    turned = array[tuple(slice(None, None, sign) for sign in signs)]
    return turned.transpose(np.argsort(axes))
