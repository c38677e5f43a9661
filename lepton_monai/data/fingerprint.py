"""What the training cases look like: spacing, size, values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.cases.case import LoadedCase
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume

VOXELS_A_CASE = 10_000
"""Foreground voxels that are drawn from each case for the percentiles."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One case, measured: small, so that the voxels of all cases are never held at once.

    Parameters
    ----------
    spacing_mm, extent_mm
        Of the first image along x, y, z: the axes in RAS order.
    values
        Of each image, drawn from the foreground; from everywhere in a case without.
    units
        Of the values of each image.
    """

    spacing_mm: NDArray[np.float64]
    extent_mm: NDArray[np.float64]
    values: tuple[NDArray[np.float64], ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class Values:
    """The values of one image over the training cases.

    Parameters
    ----------
    low, high
        0.5 and 99.5 percentile of the foreground's values.
    mean, deviation
        Of the foreground's values.
    units
        All units that occur.
    """

    low: float
    high: float
    mean: float
    deviation: float
    units: tuple[str, ...]


@dataclass(frozen=True)
class Fingerprint:
    """Measured over the training cases, with axes in RAS order.

    Parameters
    ----------
    spacing_mm
        Median of the first image along x, y, z.
    extent_mm
        Median of the first image along x, y, z.
    values
        Of each image.
    """

    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    values: tuple[Values, ...]


def measure(loaded: LoadedCase) -> Measurement:
    """Measure a case."""
    grid = loaded.volume.grid
    inside = loaded.mask.array > 0
    found = inside if inside.any() else np.ones_like(inside)
    values = tuple(
        _drawn(one.array[found] if at == 0 else _values_at(one, grid, found))
        for at, one in enumerate(loaded.volumes)
    )
    axes = list(grid.nearest_ras()[0])
    spacing = np.take(grid.spacing_mm, axes)
    units = tuple(one.unit for one in loaded.volumes)
    return Measurement(spacing, spacing * np.take(grid.shape, axes), values, units)


def _drawn(values: NDArray[Any]) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).choice(values, size=min(VOXELS_A_CASE, values.size), replace=False)
    return np.asarray(drawn, dtype=np.float64)


def _values_at(volume: Volume, grid: Grid, found: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the values of another image nearest to some voxels of a grid; of all of it where none is."""
    index = np.argwhere(found)
    if len(index) > VOXELS_A_CASE:
        index = index[np.random.default_rng(0).choice(len(index), VOXELS_A_CASE, replace=False)]
    places = np.rint(volume.grid.to_index(grid.to_world(index))).astype(int)
    there = places[((places >= 0) & (places < np.array(volume.grid.shape))).all(axis=1)]
    return volume.array[tuple(there.T)] if len(there) else volume.array.ravel(order="K")


def fingerprint(cases: Sequence[Measurement]) -> Fingerprint:
    """Sum up the training cases."""
    return Fingerprint(
        spacing_mm=_triple(np.median([one.spacing_mm for one in cases], axis=0)),
        extent_mm=_triple(np.median([one.extent_mm for one in cases], axis=0)),
        values=tuple(_summed(cases, image) for image in range(len(cases[0].units))),
    )


def _summed(cases: Sequence[Measurement], image: int) -> Values:
    values = np.concatenate([one.values[image] for one in cases])
    low, high = np.percentile(values, [0.5, 99.5])
    return Values(
        low=float(low),
        high=float(high),
        mean=float(values.mean()),
        deviation=max(float(values.std()), 1e-6),
        units=tuple(sorted({one.units[image] for one in cases})),
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
