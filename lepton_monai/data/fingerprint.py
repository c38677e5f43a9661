"""What the training cases look like: spacing, size, values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.cases.case import LoadedCase

VOXELS_A_CASE = 10_000
"""Foreground voxels that are drawn from each case for the percentiles."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One case, measured: small, so that the voxels of all cases are never held at once.

    Parameters
    ----------
    spacing_mm, extent_mm
        Along x, y, z: the axes in RAS order.
    values
        Drawn from the foreground; from everywhere in a case without.
    unit
        Of the values.
    """

    spacing_mm: NDArray[np.float64]
    extent_mm: NDArray[np.float64]
    values: NDArray[np.float64]
    unit: str


@dataclass(frozen=True)
class Fingerprint:
    """Measured over the training cases, with axes in RAS order.

    Parameters
    ----------
    spacing_mm
        Median along x, y, z.
    extent_mm
        Median along x, y, z.
    low, high
        0.5 and 99.5 percentile of the foreground's values.
    mean, deviation
        Of the foreground's values.
    units
        All units that occur.
    """

    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    low: float
    high: float
    mean: float
    deviation: float
    units: tuple[str, ...]


def measure(loaded: LoadedCase) -> Measurement:
    """Measure a case."""
    grid, array = loaded.volume.grid, loaded.volume.array
    inside = array[loaded.mask.array > 0]
    found = inside if inside.size else array.ravel(order="K")
    drawn = np.random.default_rng(0).choice(found, size=min(VOXELS_A_CASE, found.size), replace=False)
    axes = list(grid.nearest_ras()[0])
    spacing = np.take(grid.spacing_mm, axes)
    return Measurement(
        spacing, spacing * np.take(grid.shape, axes), drawn.astype(np.float64), loaded.volume.unit
    )


def fingerprint(cases: Sequence[Measurement]) -> Fingerprint:
    """Sum up the training cases."""
    values = np.concatenate([one.values for one in cases])
    low, high = np.percentile(values, [0.5, 99.5])
    return Fingerprint(
        spacing_mm=_triple(np.median([one.spacing_mm for one in cases], axis=0)),
        extent_mm=_triple(np.median([one.extent_mm for one in cases], axis=0)),
        low=float(low),
        high=float(high),
        mean=float(values.mean()),
        deviation=max(float(values.std()), 1e-6),
        units=tuple(sorted({one.unit for one in cases})),
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
