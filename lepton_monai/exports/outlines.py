"""Masks as polygons that run between voxel centres: filled again, they are the mask."""

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corners ``(n, 2)`` in voxel indices ``(i, j)``; the last one joins the first."""

ASIDE = 0.25
"""Of a voxel: so far beside the centres of a column a cut runs, that none lies on it."""

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
        rings = [ring[start : end - 1] - 1.0 for start, end in pairwise(ends.tolist())]
        polygons.append(_corners(rings[0] if len(rings) == 1 else _with_holes(rings)))
    return polygons


def _corners(ring: Polygon) -> Polygon:
    """Leave out the points that are there twice in a row, and those on straight stretches."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    arriving, leaving = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = arriving[:, 0] * leaving[:, 1] != arriving[:, 1] * leaving[:, 0]
    return np.asarray(ring[turns])


def _with_holes(rings: list[Polygon]) -> Polygon:
    """Join an island's outer ring and its holes to one ring.

    From the lowest point of each hole a cut leads down to the next border, which is a point of another
    ring: every border that a column of voxels crosses is one. So a cut crosses nothing, and leads at last
    to the outer ring, since each border lies lower than the one before.
    """
    points = np.concatenate(rings)
    firsts = np.cumsum([0, *map(len, rings)]).tolist()
    below = _points_below(points)
    ring, corners = _Ring(firsts), points.tolist()
    for first, end in pairwise(firsts[1:]):
        hole = int(first + points[first:end, 1].argmin())
        border = below[hole]
        column, low, high = points[hole, 0] + ASIDE, points[border, 1] + 0.5, points[hole, 1] - 0.5
        new = range(len(corners), len(corners) + 6)
        corners += [
            [column, low],
            [column, high],
            corners[hole],
            [column, high],
            [column, low],
            corners[border],
        ]
        ring.cut(border, hole, list(new))
    return np.array([corners[at] for at in ring.walk()])


def _points_below(points: Polygon) -> dict[int, int]:
    """Return of each border that a column of voxels crosses the next one below, by their numbers."""
    crossed = np.flatnonzero(points[:, 0] == np.rint(points[:, 0]))
    ordered = crossed[np.lexsort((points[crossed, 1], points[crossed, 0]))].tolist()
    return {upper: lower for lower, upper in pairwise(ordered) if points[lower, 0] == points[upper, 0]}


class _Ring:
    """Which point follows which; at first those of each ring in a circle."""

    def __init__(self, firsts: list[int]) -> None:
        self._after = list(range(1, firsts[-1] + 1))
        self._before = list(range(-1, firsts[-1] - 1))
        for first, end in pairwise(firsts):
            self._after[end - 1], self._before[first] = first, end - 1

    def cut(self, border: int, hole: int, new: list[int]) -> None:
        """Lead from a point of one ring around another and back, over new points: two there, four back."""
        last, goes_on = self._before[hole], self._after[border]
        self._after += [0] * len(new)
        self._before += [0] * len(new)
        for path in ((border, *new[:2], hole), (last, *new[2:], goes_on)):
            for one, next_one in pairwise(path):
                self._after[one], self._before[next_one] = next_one, one

    def walk(self) -> Iterator[int]:
        """Yield all points from the first one on."""
        at = 0
        yield at
        while (at := self._after[at]) != 0:
            yield at
