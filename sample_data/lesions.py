"""Where lesions lie and how large they are."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from sample_data.anatomy import Array, Body, Lesion, lungs

LEAST_ML = 32.0
"""Dice is taken over all lesions of a patient: with less it would be a matter of few voxels."""

LEAST_LEFT = 0.6
"""The part of a lesion that the border of the lung may leave of it."""

LARGE_MM = (18.0, 27.0)
SMALL_MM = (10.0, 16.0)

PROBE_MM = 4.0
"""Spacing of the points at which volumes are counted."""


def with_lesions(body: Body, rng: np.random.Generator) -> Body:
    """Place one large and up to three small lesions that don't meet, some cut by a border.

    Draws again until the total volume is above `LEAST_ML`.
    """
    places, lung = _places(body)
    while True:
        radii = [rng.uniform(*LARGE_MM)]
        radii += [rng.uniform(*SMALL_MM) for _ in range(rng.integers(0, 4))]
        placed: list[Lesion] = []
        for radius in radii:
            # A centre less than a radius deep: it touches chest wall, heart, vessels or dome.
            depth = radius * rng.uniform(0.5, 1.4)
            within = (lung < -5.0) & (np.abs(lung + depth) < 4.0) & (np.abs(places[:, 2]) < 75.0)
            for lesion in placed:
                apart = np.linalg.norm(places - lesion.centre, axis=1)
                within &= apart > 1.5 * (radius + lesion.radii.max())
            if within.any():
                placed.append(_lesion(rng, rng.choice(places[within]), radius))
        volumes = [_volume_ml(lesion, places, lung) for lesion in placed]
        left = [volume / _whole_ml(lesion) for volume, lesion in zip(volumes, placed, strict=True)]
        complete = len(placed) == len(radii) and min(left, default=0.0) > LEAST_LEFT
        if complete and sum(volumes) >= LEAST_ML:
            return replace(body, lesions=tuple(placed))


def _places(body: Body) -> tuple[Array, Array]:
    steps = [np.arange(-extent, extent, PROBE_MM) for extent in (140.0, 100.0, 100.0)]
    places = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lung = lungs(body, places)
    return places[lung < 0.0], lung[lung < 0.0]


def _lesion(rng: np.random.Generator, centre: Array, radius: float) -> Lesion:
    stretch = rng.uniform(0.82, 1.2, 3)
    return Lesion(
        centre=centre + rng.uniform(-1.0, 1.0, 3),
        radii=radius * stretch / np.cbrt(stretch.prod()),
        axes=Rotation.from_rotvec(rng.uniform(-2.0, 2.0, 3)).as_matrix(),
        waves=np.column_stack([rng.normal(0.0, 2.2, (3, 3)), rng.uniform(0.0, 6.28, 3)]),
        level=float(rng.uniform(0.0, 1.0)),
    )


def _volume_ml(lesion: Lesion, places: Array, lung: Array) -> float:
    inside = np.count_nonzero(lesion.distance(places, lung) <= 0.0)
    return inside * PROBE_MM**3 / 1000.0


def _whole_ml(lesion: Lesion) -> float:
    return float(np.prod(lesion.radii)) * 4.0 / 3.0 * np.pi / 1000.0
