"""Masks as NIfTI, on the grid of their image."""

from pathlib import Path

import nibabel
import numpy as np

from lepton_monai.core.files import replacing
from lepton_monai.labels.labelset import Mask


def write_mask(mask: Mask, path: Path) -> None:
    """Write class ids as ``.nii.gz``: uint8, qform and sform from one affine, code 1 (scanner).

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
    with replacing(path) as temporary:
        nibabel.save(image, temporary)
