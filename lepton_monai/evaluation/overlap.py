"""Overlap of two masks."""

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
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
    if predicted.shape != truth.shape:
        message = f"Masks of {predicted.shape} and {truth.shape} voxels can't be compared."
        raise GeometryError(message)
    total = int(predicted.sum()) + int(truth.sum())
    if total == 0:
        return float("nan")
    return 2.0 * int((predicted & truth).sum()) / total


def volume_ml(mask: NDArray[np.bool_], voxel_volume_ml: float) -> float:
    """Return the volume of a mask."""
    return int(mask.sum()) * voxel_volume_ml
