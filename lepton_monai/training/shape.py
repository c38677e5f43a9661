"""The shape of patch and network: from the median image to sides, kernels and strides.

The rules are nnU-Net's: Isensee et al., Nature Methods 2021, supplementary note 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.plans.plan import Triple

MOST_LEVELS, FEWEST_LEVELS = 6, 3  # DynUNet has no fewer
MOST_CHANNELS = 320
SMALLEST_MAP = 4
"""An axis isn't halved below this many voxels."""

COARSE = 2.0
"""An axis whose voxels are this much longer than the shortest waits with kernels and halving."""

FLAT = 3.0
"""From here on turning out of the plane would smear."""

FEW_SLICES = 12
"""An image of no more slices than this, and far between, is planned slice by slice."""


@dataclass(frozen=True)
class Shape:
    """Sides of a patch with the levels of the network that take it."""

    patch_size: Triple
    channels: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]


def network_shape(
    extent_mm: Sequence[float], spacing_mm: Sequence[float], voxels: int, width: int
) -> Shape:
    """Choose a patch like the median image and a network that halves it down to a few voxels.

    Parameters
    ----------
    extent_mm
        Of the median image.
    spacing_mm
        Of the network's grid.
    voxels
        Of a patch; an image of up to twice as many is covered whole.
    width
        Channels of the first level; each next one has twice as many, at most `MOST_CHANNELS`.
    """
    patch = patch_sides(extent_mm, spacing_mm, voxels)
    kernels, strides = levels(patch, spacing_mm)
    factor = np.prod(strides, axis=0).tolist()
    channels = tuple(min(width * 2**level, MOST_CHANNELS) for level in range(len(kernels)))
    return Shape(divisible(patch, factor), channels, kernels, strides)


def divisible(sides: Sequence[int], factor: Sequence[int]) -> Triple:
    """Lengthen sides to multiples: a longer side costs less than a level that is lost."""
    x, y, z = (int(-(-side // one) * one) for side, one in zip(sides, factor, strict=True))
    return x, y, z


def patch_sides(extent_mm: Sequence[float], spacing_mm: Sequence[float], voxels: int) -> Triple:
    """Return the sides of a patch in the proportions of the image, one slice thick for few slices."""
    image = np.maximum(np.rint(np.asarray(extent_mm) / np.asarray(spacing_mm)), 1)
    coarse = int(np.argmax(spacing_mm))
    if image[coarse] <= FEW_SLICES and spacing_mm[coarse] >= FLAT * min(spacing_mm):
        image[coarse] = 1
    sides = image.copy()
    if np.prod(image) > 2 * voxels:
        # Sides that are as long in mm as the image lets them: context in every direction.
        while np.prod(sides) > voxels:
            longest = int(np.argmax(sides * np.asarray(spacing_mm)))
            sides[longest] = np.ceil(sides[longest] * 0.95) - 1
    x, y, z = (int(max(side, 1)) for side in sides)
    return x, y, z


def levels(
    patch_size: Sequence[int], spacing_mm: Sequence[float], most: int = MOST_LEVELS
) -> tuple[tuple[Triple, ...], tuple[Triple, ...]]:
    """Return kernels and strides level by level: coarse axes wait until the others are as coarse."""
    size, spacing = np.array(patch_size, dtype=float), np.array(spacing_mm, dtype=float)
    kernel = _kernel(size, spacing)
    kernels, strides = [kernel], [(1, 1, 1)]
    while len(kernels) < most:
        long = size >= 2 * SMALLEST_MAP
        if not long.any():
            break
        halved = long & (spacing < COARSE * spacing[long].min())
        size, spacing = np.where(halved, size / 2, size), np.where(halved, spacing * 2, spacing)
        x, y, z = (2 if one else 1 for one in halved)
        strides.append((x, y, z))
        kernels.append(_kernel(size, spacing))
    while len(kernels) < min(most, FEWEST_LEVELS):  # one more costs little on a map of a few voxels
        kernels.append(kernels[-1])
        strides.append((1, 1, 1))
    return tuple(kernels), tuple(strides)


def _kernel(size: NDArray[np.float64], spacing: NDArray[np.float64]) -> Triple:
    """Return 3 along every axis but a coarse one and one that is a single voxel."""
    wide = (size > 1) & (spacing < COARSE * spacing[size > 1].min(initial=np.inf))
    x, y, z = (3 if one else 1 for one in wide)
    return x, y, z


def memory_gb(shape: Shape, batch_size: int, bytes_a_value: int) -> float:
    """Estimate the memory of a training step.

    Every level holds the outputs of two convolutions, their norms and activations on the way down, the
    same on the way up with the skip beside it, and the gradients; weights, their gradients, AdamW's two
    moments and the running average are five copies in float32.
    """
    voxels, weights, values = float(np.prod(shape.patch_size)), 0.0, 0.0
    before = 1
    for channels, kernel, stride in zip(shape.channels, shape.kernels, shape.strides, strict=True):
        voxels /= float(np.prod(stride))
        values += 14 * voxels * channels
        weights += float(np.prod(kernel)) * channels * (before + 4 * channels)
        before = channels
    return (values * batch_size * bytes_a_value + weights * 5 * 4) / 1e9
