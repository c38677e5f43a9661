"""Masks as polygons that run between voxel centres: filled again, they are the mask."""

from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corners ``(n, 2)`` in voxel indices ``(i, j)``; the last one joins the first."""

_BORDER = 0.5
"""Between 0 outside and 1 inside: half way between their centres."""


def outlines(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Trace a slice, each island with its holes as one polygon.

    Parameters
    ----------
    mask
        Of a slice, ``(i, j)``.

    Returns
    -------
    polygons
        Whose even-odd fill at voxel centres is the mask. A hole is joined to its island by a cut that is
        passed twice, the keyhole technique of PS3.3 C.8.8.6.3: not every reader combines contours.
    """
    padded = np.pad(mask, 1).T.astype(np.float64)  # contourpy has x, here i, as its last axis
    generator = contourpy.contour_generator(
        z=padded, name="serial", fill_type=contourpy.FillType.OuterOffset
    )
    points, offsets = cast("tuple[list[Polygon], list[NDArray[np.intp]]]", generator.filled(_BORDER, 2.0))
    polygons = []
    for ring, ends in zip(points, offsets, strict=True):
        rings = [_corners(ring[start : end - 1]) - 1.0 for start, end in pairwise(ends.tolist())]
        polygon = rings[0]
        for hole in rings[1:]:
            polygon = _with_hole(polygon, hole)
        polygons.append(polygon)
    return polygons


def _corners(ring: Polygon) -> Polygon:
    """Leave out the points on straight stretches."""
    arriving, leaving = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = arriving[:, 0] * leaving[:, 1] != arriving[:, 1] * leaving[:, 0]
    return np.asarray(ring[turns])


def _with_hole(polygon: Polygon, hole: Polygon) -> Polygon:
    """Cut from a polygon to a hole in it where they are nearest, around it, and back by the same cut."""
    distances = np.linalg.norm(polygon[:, None] - hole[None], axis=2)
    at, first = np.unravel_index(int(distances.argmin()), distances.shape)
    around = np.roll(hole, -int(first), axis=0)
    return np.concatenate([polygon[: at + 1], around, around[:1], polygon[at:]])
