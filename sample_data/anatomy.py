"""A synthetic thorax as signed distances: body, lungs, vessels, spine, ribs, table and lesions.

Patient space is LPS in mm with the origin in the middle of the chest: x to the left, y to the
back, z to the head. A distance is negative inside and first-order exact near the border.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

FAR_MM = 50.0
"""What stands for "well outside" where a distance isn't computed."""


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid whose radius swings with the direction, cut off at the border of the lung.

    `level` in [0, 1] places its intensity between the lowest and the highest of a lesion.
    """

    centre: Array
    radii: Array
    axes: Array
    waves: Array
    level: float

    def distance(self, points: Array, lung: Array) -> Array:
        """Distance of points ``(n, 3)``; `lung` is their distance to the lung."""
        result = np.full(len(points), FAR_MM)
        offsets = points - self.centre
        near = np.linalg.norm(offsets, axis=1) < 1.6 * self.radii.max()
        local = offsets[near] @ self.axes
        blob = ellipsoid(local, np.zeros(3), self.radii)
        unit = local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-9)
        swing = np.sin(unit @ self.waves[:, :3].T + self.waves[:, 3]).mean(axis=1)
        result[near] = np.maximum(blob - 0.3 * self.radii.min() * swing, lung[near])
        return result


@dataclass(frozen=True)
class Body:
    """What differs between two patients; lengths in mm, side 0 is the right."""

    scale: float
    fat: float
    belly: float
    rib_phase: float
    disc_phase: float
    diaphragm: tuple[float, float]
    heart: Array
    aorta_x: float
    contrast: float
    vessels: tuple[Array, Array]
    lesions: tuple[Lesion, ...] = ()


def ellipsoid(points: Array, centre: ArrayLike, radii: ArrayLike) -> Array:
    """Distance of points ``(n, 3)`` to an ellipsoid; an infinite radius makes a cylinder."""
    inverse = 1.0 / np.asarray(radii, dtype=np.float64)
    scaled = (points - np.asarray(centre)) * inverse
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    scaled *= inverse
    gradient = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    distance: Array = length * (length - 1.0) / np.maximum(gradient, 1e-9)
    distance[length < 1e-6] = -float(np.min(radii))
    return distance


def tube(points: Array, first: ArrayLike, last: ArrayLike, radius: float) -> Array:
    """Distance of points ``(n, 3)`` to a straight tube with round ends."""
    start = np.asarray(first, dtype=np.float64)
    along = np.asarray(last, dtype=np.float64) - start
    offsets = points - start
    share = np.clip(offsets @ along / (along @ along), 0.0, 1.0)
    away: Array = np.linalg.norm(offsets - share[:, None] * along, axis=1) - radius
    return away


def draw_body(rng: np.random.Generator) -> Body:
    """Draw a patient without lesions."""
    scale = float(rng.uniform(0.93, 1.05))
    right = float(rng.uniform(-88.0, -72.0))
    return Body(
        scale=scale,
        fat=float(rng.uniform(7.0, 17.0)),
        belly=float(rng.uniform(0.96, 1.04)),
        rib_phase=float(rng.uniform(0.0, 26.0)),
        disc_phase=float(rng.uniform(0.0, 27.0)),
        diaphragm=(right, right - float(rng.uniform(6.0, 16.0))),
        heart=np.array([22.0, -36.0, -42.0]) * scale + rng.normal(0.0, 4.0, 3),
        aorta_x=float(rng.uniform(14.0, 22.0)),
        contrast=float(rng.choice([0.0, 0.0, 1.0]) * rng.uniform(90.0, 180.0)),
        vessels=(_vessel_tree(rng, -1.0, scale), _vessel_tree(rng, 1.0, scale)),
    )


def _vessel_tree(rng: np.random.Generator, side: float, scale: float) -> Array:
    """Grow a tree from the hilum: samples ``(n, 4)``, position and radius, 1 mm apart."""
    hilum = np.array([30.0 * side, 2.0, -8.0]) * scale
    samples: list[Array] = []
    growing = [
        (hilum, np.array([side, along_y, along_z]), 6.0)
        for along_y, along_z in ((-0.6, 0.8), (0.7, 0.5), (-0.5, -0.7), (0.6, -1.0))
    ]
    while growing:
        start, direction, radius = growing.pop()
        direction = direction / np.linalg.norm(direction)
        steps = np.arange(0.0, 9.0 + 3.5 * radius)
        points = start + steps[:, None] * direction
        samples.append(np.column_stack([points, np.full(len(points), radius)]))
        if radius > 1.4:
            for turn in (-0.55, 0.55):
                bent = direction + turn * _across(rng, direction) + rng.normal(0.0, 0.12, 3)
                growing.append((points[-1], bent, radius * float(rng.uniform(0.66, 0.8))))
    return np.concatenate(samples)


def _across(rng: np.random.Generator, direction: Array) -> Array:
    other = np.cross(direction, rng.normal(size=3))
    across: Array = other / np.linalg.norm(other)
    return across


def heart(body: Body, points: Array) -> Array:
    """Distance to the heart."""
    return ellipsoid(points, body.heart, np.array([54.0, 43.0, 50.0]) * body.scale)


def mediastinum(body: Body, points: Array) -> Array:
    """Distance to the space between the lungs."""
    return ellipsoid(
        points, np.array([3.0, 8.0, 0.0]) * body.scale, [31 * body.scale, 84 * body.scale, np.inf]
    )


def lungs(body: Body, points: Array) -> Array:
    """Distance to both lungs together, cut by heart, mediastinum and diaphragm."""
    x, y, z = points.T
    sides = []
    for side, floor in zip((-1.0, 1.0), body.diaphragm, strict=True):
        centre = np.array([70.0 * side, 2.0, -18.0]) * body.scale
        shape = ellipsoid(points, centre, np.array([57.0, 80.0, 150.0]) * body.scale)
        bulge = 1.0 - ((x - centre[0]) / 95.0) ** 2 - ((y - centre[1]) / 120.0) ** 2
        sides.append(np.maximum(shape, floor + 40.0 * np.maximum(bulge, 0.0) - z))
    inside = np.minimum(sides[0], sides[1])
    between = np.minimum(heart(body, points), mediastinum(body, points))
    cut: Array = np.maximum(inside, -between)
    return cut


def vessels(body: Body, points: Array, edge_mm: float) -> tuple[Array, Array]:
    """Distance to the vessels of the lungs, and the share of a voxel that so thin a tube fills."""
    samples = np.concatenate(body.vessels)
    away, nearest = cKDTree(samples[:, :3]).query(points, distance_upper_bound=FAR_MM / 4)
    radius = np.append(samples[:, 3], 1.0)[nearest]
    distance = np.where(np.isinf(away), FAR_MM, away - radius)
    return distance, np.minimum(1.0, 2.0 * radius / edge_mm)


def outside(body: Body, points: Array) -> Iterator[tuple[str, Array]]:
    """Yield the table and the skin, inside which there is fat."""
    x, y = points.T[:2]
    size = _chest(body)
    top = size[1] + body.fat + 7.0 - 0.0006 * x**2
    yield "table", np.maximum(np.abs(y - top) - 5.0, np.abs(x) - 175.0)
    yield "fat", ellipsoid(points, np.zeros(3), size + body.fat)


def chest_wall(body: Body, points: Array) -> Iterator[tuple[str, Array]]:
    """Yield muscle, ribs and breastbone."""
    x, y, z = points.T
    size = _chest(body)
    yield "muscle", ellipsoid(points, np.zeros(3), size)
    cage = ellipsoid(points, np.zeros(3), size - np.array([11.0, 9.0, 0.0]))
    gap = 26.0 * body.scale
    off_centre = (z - 0.8 * y - body.rib_phase + gap / 2.0) % gap - gap / 2.0
    rib = np.sqrt(cage**2 + (0.78 * off_centre) ** 2) - 5.0
    yield "cortical", np.maximum(rib, 34.0 - np.abs(x))
    yield "trabecular", np.maximum(rib + 3.0, 34.0 - np.abs(x))
    breastbone = np.maximum(np.abs(cage) - 6.0, np.maximum(np.abs(x) - 17.0, y))
    yield "cortical", np.maximum(breastbone, -70.0 - z)
    yield "trabecular", np.maximum(breastbone + 3.0, -70.0 - z)


def _chest(body: Body) -> Array:
    """Radii of the chest without its fat."""
    radii: Array = np.array([151.0, 103.0 * body.belly, 560.0]) * body.scale
    return radii


def organs(body: Body, points: Array) -> Iterator[tuple[str, Array]]:
    """Yield liver and spleen, the mediastinum, the heart and the large vessels and airways."""
    s = body.scale
    z = points[:, 2]
    inside = ellipsoid(points, np.zeros(3), np.array([134.0, 88.0, 560.0]) * s)
    yield "organ", np.maximum(inside, z + 25.0)
    yield "mediastinum", np.maximum(mediastinum(body, points), inside)
    yield "blood", heart(body, points)
    x = body.aorta_x * s
    yield "blood", tube(points, [x, 46 * s, -200], [x, 46 * s, 42 * s], 12.5 * s)
    yield "blood", tube(points, [x, 46 * s, 42 * s], [-6 * s, -20 * s, 44 * s], 13 * s)
    yield "blood", tube(points, [-6 * s, -20 * s, 44 * s], [2 * s, -26 * s, -20], 14 * s)
    yield "blood", tube(points, [-20 * s, -20 * s, 130], [-22 * s, -24 * s, -20], 9 * s)
    yield "blood", tube(points, [-30 * s, 2, 4], [30 * s, 2, 4], 10 * s)
    yield "airway", tube(points, [0, 12 * s, 200], [0, 14 * s, 34 * s], 9 * s)
    yield "airway", tube(points, [0, 14 * s, 34 * s], [-36 * s, 10, 2], 6 * s)
    yield "airway", tube(points, [0, 14 * s, 34 * s], [38 * s, 12, 0], 5.5 * s)


def spine(body: Body, points: Array) -> Iterator[tuple[str, Array]]:
    """Yield the vertebrae, discs and the canal."""
    s = body.scale
    z = points[:, 2]
    column = ellipsoid(points, [0.0, 70.0 * s, 0.0], [19.0 * s, 15.0 * s, np.inf])
    gap = 27.0 * s
    disc = np.abs((z + body.disc_phase) % gap - gap / 2.0) - 3.0
    yield "cortical", column
    yield "trabecular", np.maximum(column + 2.5, 2.0 - disc)
    yield "disc", np.maximum(column, disc)
    arch = ellipsoid(points, [0.0, 90.0 * s, 0.0], [24.0 * s, 9.0 * s, np.inf])
    yield "cortical", np.maximum(arch, 4.0 - disc)
    yield "canal", ellipsoid(points, [0.0, 89.0 * s, 0.0], [9.0 * s, 7.0 * s, np.inf])
