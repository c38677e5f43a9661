"""Masks and images as NIfTI, on their own grid."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.files import replacing
from lepton_monai.core.grid import SAME_GRID_MM, Grid
from lepton_monai.labels.labelset import Mask


def write_mask(mask: Mask, path: Path) -> None:
    """Write class ids as ``.nii.gz`` in uint8: see :func:`write_image`.

    Parameters
    ----------
    mask
        On the source grid.
    path
        Ends with ``.nii.gz``.
    """
    write_image(np.asarray(mask.array, dtype=np.uint8), mask.grid, path)


def write_image(array: NDArray[Any], grid: Grid, path: Path) -> None:
    """Write values as ``.nii.gz`` in their own type: qform and sform from one affine, code 1 (scanner).

    A qform is a rotation: a sheared grid, which it can't hold, has a sform alone.

    Parameters
    ----------
    array
        ``(i, j, k)``, or ``(i, j, k, t)`` for several volumes on one grid.
    grid
        Where they lie.
    path
        Ends with ``.nii.gz``.
    """
    image = nibabel.Nifti1Image(array, grid.ras(), dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.ras(), code=1)
    image.set_qform(grid.ras(), code=1)
    held = Grid.from_ras(grid.shape, image.get_qform())
    if held.corner_distance_mm(grid) >= SAME_GRID_MM:
        image.set_qform(None, code=0)
    with replacing(path) as temporary:
        nibabel.save(image, temporary)
