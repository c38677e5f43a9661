"""What no network is needed for: a model has to beat it."""

import numpy as np
from numpy.typing import NDArray


def above(values: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return where an image exceeds a value."""
    return values > threshold


def centred_ellipsoid(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return an ellipsoid in the middle of the image with half its extent along every axis.

    The extent runs from the first voxel centre to the last.
    """
    axes = [(np.arange(n) - (n - 1) / 2) / max((n - 1) / 4, 0.25) for n in shape]
    squares = np.meshgrid(*[axis**2 for axis in axes], indexing="ij", sparse=True)
    return np.asarray(squares[0] + squares[1] + squares[2] <= 1.0)
