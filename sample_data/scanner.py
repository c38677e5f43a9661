"""What a scanner makes of the anatomy: partial volume, texture, noise; CT and MR."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sample_data.anatomy import Array, Body, chest_wall, lungs, organs, outside, spine, vessels

Selected: TypeAlias = NDArray[np.intp] | slice

CT_HU = {
    "air": -1000.0,
    "table": -620.0,
    "fat": -100.0,
    "muscle": 52.0,
    "cortical": 560.0,
    "trabecular": 190.0,
    "organ": 58.0,
    "mediastinum": 18.0,
    "blood": 42.0,
    "airway": -990.0,
    "lung": -855.0,
    "disc": 85.0,
    "canal": 22.0,
    "lesion_low": 20.0,
    "lesion_high": 60.0,
}
"""Attenuation of tissues without contrast, HU."""

MR_SIGNAL = {
    "air": 0.0,
    "table": 0.0,
    "fat": 0.95,
    "muscle": 0.36,
    "cortical": 0.07,
    "trabecular": 0.62,
    "organ": 0.47,
    "mediastinum": 0.66,
    "blood": 0.14,
    "airway": 0.01,
    "lung": 0.06,
    "disc": 0.42,
    "canal": 0.30,
    "lesion_low": 0.44,
    "lesion_high": 0.60,
}
"""Signal of a T1-weighted spin echo relative to the brightest tissue."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One acquisition: values ``(i, j, k)`` before they are stored, and the lesions in it."""

    values: Array
    mask: NDArray[np.bool_]


def grid_points(shape: tuple[int, int, int], affine_lps: Array) -> Array:
    """Return the voxel centres ``(n, 3)``, LPS, mm, the last index fastest."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points: Array = index @ affine_lps[:3, :3].T + affine_lps[:3, 3]
    return points


def scan_ct(body: Body, shape: tuple[int, int, int], affine_lps: Array, rng: np.random.Generator) -> Scan:
    """Scan in HU, with noise that is correlated between neighbours and smaller in air."""
    tissues = dict(CT_HU)
    tissues["blood"] += body.contrast
    clean, mask = _compose(body, shape, affine_lps, tissues)
    texture = _smooth_noise(shape, rng, 1.3) * 20.0
    in_lung = np.clip((-500.0 - clean) / 200.0, 0.0, 1.0) * np.clip((clean + 960.0) / 60.0, 0, 1)
    noise = _smooth_noise(shape, rng, 0.55) * np.where(clean < -930.0, 1.5, 7.0)
    return Scan(clean + in_lung * texture + noise, mask)


def scan_mr(body: Body, shape: tuple[int, int, int], affine_lps: Array, rng: np.random.Generator) -> Scan:
    """Scan in a unit of signal: a coil's bias field and noise that is never negative."""
    clean, mask = _compose(body, shape, affine_lps, MR_SIGNAL)
    points = grid_points(shape, affine_lps)
    waves = points @ rng.normal(0.0, 0.006, (3, 2)) + rng.uniform(0.0, 6.28, 2)
    bias = 1.0 + 0.16 * np.sin(waves).sum(axis=1).reshape(shape)
    real = clean * bias + rng.normal(0.0, 0.018, shape)
    return Scan(np.hypot(real, rng.normal(0.0, 0.018, shape)), mask)


def _compose(
    body: Body, shape: tuple[int, int, int], affine_lps: Array, tissues: Mapping[str, float]
) -> tuple[Array, NDArray[np.bool_]]:
    """Lay tissue over tissue; a border is as wide as a voxel."""
    points = grid_points(shape, affine_lps)
    edge_mm = float(np.cbrt(abs(np.linalg.det(affine_lps[:3, :3]))))
    image = np.full(len(points), tissues["air"])

    def paint(where: Selected, distance: Array, value: float, filled: float | Array = 1.0) -> None:
        share = np.clip(0.5 - distance / edge_mm, 0.0, 1.0) * filled
        image[where] += share * (value - image[where])

    skin = np.zeros(len(points))
    for name, skin in outside(body, points):
        paint(slice(None), skin, tissues[name])
    mask = np.zeros(len(points), dtype=bool)
    inside = np.flatnonzero(skin < edge_mm)
    points = points[inside]
    lung = lungs(body, points)
    liver, *others = organs(body, points)
    for name, distance in [*chest_wall(body, points), liver, ("lung", lung), *others]:
        paint(inside, distance, tissues[name])
    for name, distance in spine(body, points):
        paint(inside, distance, tissues[name])
    near = np.flatnonzero(lung < edge_mm)
    distance, filled = vessels(body, points[near], edge_mm)
    paint(inside[near], np.maximum(distance, lung[near]), tissues["blood"], filled)
    for lesion in body.lesions:
        distance = lesion.distance(points, lung)
        span = tissues["lesion_high"] - tissues["lesion_low"]
        paint(inside, distance, tissues["lesion_low"] + lesion.level * span)
        mask[inside] |= distance <= 0.0
    return image.reshape(shape), mask.reshape(shape)


def _smooth_noise(shape: tuple[int, int, int], rng: np.random.Generator, sigma: float) -> Array:
    """Noise of standard deviation 1, correlated over `sigma` voxels within a slice."""
    noise: Array = gaussian_filter(rng.normal(size=shape), (sigma, sigma, sigma / 2.0))
    noise /= noise.std()
    return noise
