"""Overlap and volume of two masks."""

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError

Mask = NDArray[np.bool_]


def dice(predicted: Mask, truth: Mask) -> float:
    """Return twice the shared voxels over the sum of both.

    Parameters
    ----------
    predicted, truth
        bool arrays of one shape, on one grid.

    Returns
    -------
    dice : float
        0 to 1. NaN where both are empty: nothing was to be found and nothing was, which is no overlap
        of 1. 0 where one is empty.

    Raises
    ------
    GeometryError
        The shapes differ.
    """
    shared, total = _counts(predicted, truth)
    return 2.0 * shared / total if total else float("nan")


def iou(predicted: Mask, truth: Mask) -> float:
    """Return the shared voxels over those of either, Jaccard's index; edges as in `dice`."""
    shared, total = _counts(predicted, truth)
    return shared / (total - shared) if total else float("nan")


def volume_ml(mask: Mask, voxel_volume_ml: float) -> float:
    """Return the volume of a mask."""
    return int(np.count_nonzero(mask)) * voxel_volume_ml


def volume_error_percent(predicted_ml: float, truth_ml: float) -> float:
    """Return by how much a volume is too large (above 0) or too small, in % of the truth.

    NaN where the truth is empty: there is no share of nothing.
    """
    return 100.0 * (predicted_ml - truth_ml) / truth_ml if truth_ml else float("nan")


def shared_box(first: Mask, second: Mask) -> tuple[slice, ...]:
    """Return the smallest box that holds both masks; one of no voxel where both are empty.

    What is measured inside is what is measured on the whole grid, in a part of its time and memory.

    Raises
    ------
    GeometryError
        The shapes differ.
    """
    require_same_shape(first, second)
    either = first | second
    box = []
    for axis in range(either.ndim):
        others = tuple(other for other in range(either.ndim) if other != axis)
        (filled,) = np.nonzero(either.any(axis=others))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0))
    return tuple(box)


def require_same_shape(first: Mask, second: Mask) -> None:
    """Raise `GeometryError` where the shapes differ: numpy would stretch one over the other."""
    if first.shape != second.shape:
        message = f"Masks of {first.shape} and {second.shape} voxels can't be compared."
        raise GeometryError(message)


def _counts(predicted: Mask, truth: Mask) -> tuple[int, int]:
    require_same_shape(predicted, truth)
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth))
    return int(np.count_nonzero(predicted & truth)), total
