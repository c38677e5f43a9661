"""What is true about a series, in a form that any reader's array and affine can be held against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float64]

TOLERANCE_MM = 0.051
"""A voxel may lie so far from where its own slice says: the gate of 0.05 mm and rounding."""


@dataclass(frozen=True, eq=False)
class TrueVolume:
    """The value and the place of every voxel, each slice by its own header.

    Parameters
    ----------
    values
        ``(i, j, k)``; NaN where nothing was measured.
    origins
        Centre of the first voxel of each slice, ``(k, 3)``, LPS, mm.
    steps
        From voxel to voxel along i and j, as columns ``(3, 2)``, mm.
    unit
        Of the values.
    factor
        What the values after the rescale of the file were multiplied with: SUV from Bq/ml.
    tolerance
        Of a value, where the pixels were compressed with losses.
    """

    values: Frames
    origins: Frames
    steps: Frames
    unit: str = "HU"
    factor: float = 1.0
    tolerance: float = 0.0

    def positions(self) -> Frames:
        """Return where the centre of every voxel lies: ``(i, j, k, 3)``, LPS, mm."""
        columns, rows, _ = self.values.shape
        along_i = np.arange(columns)[:, None] * self.steps[:, 0]
        along_j = np.arange(rows)[:, None] * self.steps[:, 1]
        return np.asarray(along_i[:, None, None] + along_j[None, :, None] + self.origins[None, None])

    def error(self, array: NDArray[Any], affine_lps: Frames, tolerance_mm: float = TOLERANCE_MM) -> str:
        """Say what is wrong with a volume whose axes may run in any order and direction; empty: nothing."""
        if sorted(array.shape) != sorted(self.values.shape):
            return f"the shape is {array.shape}, not {self.values.shape}"
        truth = self.positions().reshape(-1, 3)
        index = np.rint((truth - affine_lps[:3, 3]) @ np.linalg.inv(affine_lps[:3, :3]).T).astype(int)
        there = index @ affine_lps[:3, :3].T + affine_lps[:3, 3]
        off_mm = float(np.linalg.norm(there - truth, axis=1).max())
        if (index < 0).any() or (index >= array.shape).any() or len(np.unique(index, axis=0)) < len(index):
            return "voxels lie outside of the grid"
        if off_mm > tolerance_mm:
            return f"voxels lie up to {off_mm:.3f} mm from their place"
        return self._difference(array[tuple(index.T)].reshape(self.values.shape))

    def _difference(self, found: NDArray[Any]) -> str:
        measured = np.isfinite(self.values)
        # float32 holds seven digits.
        near = np.isclose(found, self.values, rtol=1e-6, atol=self.tolerance + 1e-6) | ~measured
        wrong = int((~near).sum())
        return f"{wrong} of {near.size} values are wrong" if wrong else ""


@dataclass(frozen=True)
class Truth:
    """What a reader that makes no mistake does with a series.

    Parameters
    ----------
    volumes
        Which it gives.
    notes
        Codes of what it notes about them, all together.
    refused
        Codes of why a series, or a part of one, makes no volume.
    passed_over
        Codes of why a file is no slice.
    repaired
        Names of the repairs that are asked for together, and the volumes that they must give.
    linear
        Coefficients of x, y, z and 1 in an image that is linear in space: resampled onto any grid, it has
        these values. None: the series isn't for resampling.
    """

    volumes: tuple[TrueVolume, ...] = ()
    notes: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    repaired: Mapping[tuple[str, ...], tuple[TrueVolume, ...]] = field(default_factory=dict)
    linear: tuple[float, ...] | None = None


@dataclass(frozen=True)
class CatalogueSeries:
    """A series with a known truth.

    Parameters
    ----------
    name
        Which no other has.
    row
        The condition, by the code of docs/DICOM.md where it has one.
    write
        Writes the files into a folder that it may make, and says what is true about them.
    """

    name: str
    row: str
    write: Callable[[Path], Truth]


def series(name: str, row: str, write: Callable[..., Truth], *arguments: Any) -> CatalogueSeries:
    """Make an entry whose writer takes some arguments before its folder."""
    return CatalogueSeries(name, row, partial(write, *arguments))


def used(*volumes: TrueVolume, notes: str = "", passed_over: str = "", refused: str = "") -> Truth:
    """Make the truth of what can be used; codes are parted by spaces."""
    return Truth(volumes, frozenset(notes.split()), tuple(refused.split()), tuple(passed_over.split()))


def refused(
    code: str,
    *repairs: str,
    gives: TrueVolume | None = None,
    linear: tuple[float, ...] | None = None,
) -> Truth:
    """Make the truth of what is refused, with what repairs on request must give."""
    repaired = {} if gives is None else {repairs: (gives,)}
    return Truth(refused=(code,), repaired=repaired, linear=linear)
