"""Masks as NIfTI, on the grid of their image."""

from pathlib import Path

import nibabel
import numpy as np

from lepton_monai.core.files import replacing
from lepton_monai.core.grid import SAME_GRID_MM, Grid
from lepton_monai.labels.labelset import Mask


def write_mask(mask: Mask, path: Path) -> None:
    """Write class ids as ``.nii.gz``: uint8, qform and sform from one affine, code 1 (scanner).

    A qform is a rotation: a sheared grid, which it can't hold, has a sform alone.

    Parameters
    ----------
    mask
        On the source grid.
    path
        Ends with ``.nii.gz``.
    """
    image = nibabel.Nifti1Image(mask.array, mask.grid.ras(), dtype=np.uint8)
    image.header.set_xyzt_units("mm")
    image.set_sform(mask.grid.ras(), code=1)
    image.set_qform(mask.grid.ras(), code=1)
    held = Grid.from_ras(mask.grid.shape, image.get_qform())
    if held.corner_distance_mm(mask.grid) >= SAME_GRID_MM:
        image.set_qform(None, code=0)
    with replacing(path) as temporary:
        nibabel.save(image, temporary)
