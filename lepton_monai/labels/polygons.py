"""Exact filling of planar polygons on a grid of pixels."""

import numpy as np
from numpy.typing import NDArray


def fill_even_odd(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill one closed polygon by the even-odd rule at pixel centres.

    Parameters
    ----------
    points
        ``(n, 2)`` corners in continuous pixel indices ``(i, j)``; a centre has whole numbers. The last
        point joins the first.
    shape
        ``(i, j)``.

    Returns
    -------
    inside : bool array ``(i, j)``
        A centre on an edge counts as inside on the lower side only, along both axes, so that polygons
        that touch never share a pixel.
    """
    inside = np.zeros(shape, dtype=np.bool_)
    start, end = points, np.roll(points, -1, axis=0)
    # A row j is crossed where one end lies at or below it and the other above: half open, so that a
    # corner on the row counts once.
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low), 0, shape[1]).astype(np.int64)
    last = np.clip(np.ceil(high), 0, shape[1]).astype(np.int64)
    counts = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(points)), counts)
    if not len(edge):
        return inside
    j = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    # A crossing is computed from the same end whichever way the edge runs, so that two polygons
    # that share an edge agree to the last bit.
    swap = start[:, 1] > end[:, 1]
    base = np.where(swap[:, None], end, start)
    tip = np.where(swap[:, None], start, end)
    # Divided last: exact wherever a crossing is a whole number, and no slope overflows.
    rise = tip[edge] - base[edge]
    crossing = base[edge, 0] + (j - base[edge, 1]) * rise[:, 0] / rise[:, 1]
    # Every centre at or right of a crossing changes side.
    at = np.clip(np.ceil(crossing), 0, shape[0]).astype(np.int64)
    flips = np.zeros((shape[0] + 1, shape[1]), dtype=np.int64)
    np.add.at(flips, (at, j), 1)
    inside[:] = (np.cumsum(flips[: shape[0]], axis=0) % 2).astype(np.bool_)
    return inside
