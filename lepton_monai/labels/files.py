"""Masks in NIfTI files as regions on the grid of their image."""

from pathlib import Path

import numpy as np

from lepton_monai.core.errors import LabelError
from lepton_monai.core.grid import Grid
from lepton_monai.images.nifti import read_nifti
from lepton_monai.labels.labelset import Region, Regions

MOST_NUMBERS = 1000
"""No mask has so many labels; an image taken for one has, and each is an array."""


def read_nifti_labels(path: Path, grid: Grid) -> Regions:
    """Read a NIfTI file of whole numbers; each number but 0 is a region of that name.

    Raises
    ------
    LabelError
        A value is no whole number from 0 on, or there are too many for a mask.
    GeometryError
        The mask doesn't lie on the grid of its image.
    """
    volume = read_nifti(path)
    volume.grid.require_same(grid, "Mask and image")
    numbers = np.unique(volume.array)
    if numbers.min() < 0 or (numbers != np.rint(numbers)).any():
        message = "The mask holds values that are no whole numbers from 0 on."
        raise LabelError(message)
    if len(numbers) > MOST_NUMBERS:
        message = f"The mask holds {len(numbers)} different numbers: it is an image."
        raise LabelError(message)
    regions = tuple(Region((str(int(number)),), volume.array == number) for number in numbers if number)
    return Regions(regions, grid)
