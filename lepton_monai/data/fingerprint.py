"""What the training cases look like: spacing, size, values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.cases.case import LoadedCase
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.plans.plan import EnvelopePlan, Spacing

VOXELS_A_CASE = 10_000
"""Foreground voxels that are drawn from each case for the percentiles."""

SPREAD_VOXELS = 200_000
"""Voxels of an image that its own percentiles are taken of, drawn from all of it."""


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
    spread
        1st and 99th percentile of all values of each image.
    """

    spacing_mm: NDArray[np.float64]
    extent_mm: NDArray[np.float64]
    values: tuple[NDArray[np.float64], ...]
    units: tuple[str, ...]
    spread: tuple[tuple[float, float], ...]


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
    envelope
        The least and the most of all that can be measured of an image without a label.
    """

    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    values: tuple[Values, ...]
    envelope: EnvelopePlan | None = None


def measure(loaded: LoadedCase) -> Measurement:
    """Measure a case."""
    grid = loaded.volume.grid
    inside = loaded.mask.array > 0
    values = [_drawn(loaded.volume.array[inside] if inside.any() else loaded.volume.array.ravel(order="K"))]
    places = grid.to_world(_voxels(inside)) if loaded.further else np.empty((0, 3))
    values += [_drawn(_values_at(one, places)) for one in loaded.further]
    spacing, extent = measure_grid(grid)
    units = tuple(one.unit for one in loaded.volumes)
    spread = tuple(measure_spread(one) for one in loaded.volumes)
    return Measurement(spacing, extent, tuple(values), units, spread)


def measure_grid(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return spacing and extent in mm along x, y, z: the axes in RAS order."""
    axes = list(grid.nearest_ras()[0])
    spacing = np.take(grid.spacing_mm, axes)
    return spacing, spacing * np.take(grid.shape, axes)


def measure_spread(volume: Volume) -> tuple[float, float]:
    """Return the 1st and the 99th percentile of an image's values, of some hundred thousand of them."""
    values = volume.array.ravel(order="K")
    if values.size > SPREAD_VOXELS:
        # By chance: even steps may meet the same column in every row.
        values = values[np.random.default_rng(0).integers(values.size, size=SPREAD_VOXELS)]
    low, high = np.percentile(values, [1, 99])
    return float(low), float(high)


def _drawn(values: NDArray[Any]) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).choice(values, size=min(VOXELS_A_CASE, values.size), replace=False)
    return np.asarray(drawn, dtype=np.float64)


def _voxels(inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Draw voxels ``(n, 3)`` of the foreground; from everywhere where there is none."""
    generator, flat = np.random.default_rng(0), np.flatnonzero(inside)
    if not flat.size:
        flat = generator.integers(inside.size, size=VOXELS_A_CASE)
    elif flat.size > VOXELS_A_CASE:
        flat = generator.choice(flat, VOXELS_A_CASE, replace=False)
    return np.stack(np.unravel_index(flat, inside.shape), axis=-1)


def _values_at(volume: Volume, places: NDArray[np.float64]) -> NDArray[Any]:
    """Return the values nearest to places in patient space; of the whole image where none lies in it."""
    index = np.rint(volume.grid.to_index(places)).astype(int)
    there = index[((index >= 0) & (index < np.array(volume.grid.shape))).all(axis=1)]
    return volume.array[tuple(there.T)] if len(there) else volume.array.ravel(order="K")


def fingerprint(cases: Sequence[Measurement]) -> Fingerprint:
    """Sum up the training cases."""
    return Fingerprint(
        spacing_mm=_triple(np.median([one.spacing_mm for one in cases], axis=0)),
        extent_mm=_triple(np.median([one.extent_mm for one in cases], axis=0)),
        values=tuple(_summed(cases, image) for image in range(len(cases[0].units))),
        envelope=_envelope(cases),
    )


def _envelope(cases: Sequence[Measurement]) -> EnvelopePlan:
    spread = np.array([one.spread for one in cases])
    low, high = spread.min(axis=0).tolist(), spread.max(axis=0).tolist()
    return EnvelopePlan(
        spacing_mm=_ends([one.spacing_mm for one in cases]),
        extent_mm=_ends([one.extent_mm for one in cases]),
        dark=tuple((least[0], most[0]) for least, most in zip(low, high, strict=True)),
        bright=tuple((least[1], most[1]) for least, most in zip(low, high, strict=True)),
    )


def _ends(triples: Sequence[NDArray[np.float64]]) -> tuple[Spacing, Spacing]:
    return _triple(np.min(triples, axis=0)), _triple(np.max(triples, axis=0))


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
