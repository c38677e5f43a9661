"""Outlines of a mask as closed polygons that run along the borders between voxels."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Corner: TypeAlias = tuple[int, int]


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Trace every border of a two-dimensional mask.

    Parameters
    ----------
    mask
        Bool array ``(i, j)`` of one slice.

    Returns
    -------
    list of arrays ``(n, 2)``
        Points ``(i, j)`` in voxel indices, half-way between centres, so that the even-odd fill of
        all polygons at voxel centres is the mask: outer borders, holes and islands alike. The
        first point isn't repeated.
    """
    following = _border_edges(np.pad(mask.astype(bool), 1))
    polygons = []
    while following:
        start = min(following)
        loop = [start]
        before, here = start, _take(following, start, start)
        while here != start:
            loop.append(here)
            before, here = here, _take(following, here, before)
        polygons.append(_without_straight_points(np.array(loop, dtype=np.float64)) - 1.5)
    return polygons


def _border_edges(padded: NDArray[np.bool_]) -> dict[Corner, list[Corner]]:
    """Edges between a voxel inside and one outside, by their first corner, inside on one side.

    Corner ``(i, j)`` is the lower corner of voxel ``(i, j)`` of the padded mask.
    """
    following: dict[Corner, list[Corner]] = {}

    def add(first: NDArray[np.intp], step: Corner, offset: Corner) -> None:
        for i, j in first:
            corner = (int(i) + offset[0], int(j) + offset[1])
            following.setdefault(corner, []).append((corner[0] + step[0], corner[1] + step[1]))

    add(np.argwhere(padded[1:] & ~padded[:-1]), (0, -1), (1, 1))
    add(np.argwhere(~padded[1:] & padded[:-1]), (0, 1), (1, 0))
    add(np.argwhere(padded[:, 1:] & ~padded[:, :-1]), (1, 0), (0, 1))
    add(np.argwhere(~padded[:, 1:] & padded[:, :-1]), (-1, 0), (1, 1))
    return following


def _take(following: dict[Corner, list[Corner]], here: Corner, before: Corner) -> Corner:
    """Remove and return the next corner; where two voxels touch by a corner, turn."""
    choices = following[here]
    straight = (2 * here[0] - before[0], 2 * here[1] - before[1])
    chosen = next((corner for corner in sorted(choices) if corner != straight), choices[0])
    choices.remove(chosen)
    if not choices:
        del following[here]
    return chosen


def _without_straight_points(loop: NDArray[np.float64]) -> NDArray[np.float64]:
    arriving = loop - np.roll(loop, 1, axis=0)
    leaving = np.roll(loop, -1, axis=0) - loop
    turns = (arriving != leaving).any(axis=1)
    corners: NDArray[np.float64] = loop[turns]
    return corners
