"""What the training cases look like: spacing, size, values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.cases.case import LoadedCase

VOXELS_A_CASE = 10_000
"""Foreground voxels that are drawn from each case for the percentiles."""


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


def fingerprint(cases: Sequence[LoadedCase]) -> Fingerprint:
    """Measure cases; a case without foreground counts with all its voxels."""
    generator = np.random.default_rng(0)
    drawn = []
    for one in cases:
        inside = one.volume.array[one.mask.array > 0]
        values = inside if inside.size else one.volume.array.ravel(order="K")
        count = min(VOXELS_A_CASE, values.size)
        drawn.append(generator.choice(values, size=count, replace=False))
    values = np.concatenate(drawn).astype(np.float64)
    grids = [one.volume.grid for one in cases]
    axes = [list(grid.nearest_ras()[0]) for grid in grids]
    spacings = np.array([np.take(grid.spacing_mm, order) for grid, order in zip(grids, axes, strict=True)])
    shapes = np.array([np.take(grid.shape, order) for grid, order in zip(grids, axes, strict=True)])
    low, high = np.percentile(values, [0.5, 99.5])
    return Fingerprint(
        spacing_mm=_triple(np.median(spacings, axis=0)),
        extent_mm=_triple(np.median(spacings * shapes, axis=0)),
        low=float(low),
        high=float(high),
        mean=float(values.mean()),
        deviation=max(float(values.std()), 1e-6),
        units=tuple(sorted({one.volume.unit for one in cases})),
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
