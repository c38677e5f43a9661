"""NIfTI volumes, from foreign files."""

import warnings
from pathlib import Path

import nibabel
import numpy as np

from lepton_monai.core.errors import InputError, LeptonError
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume

SUFFIXES = (".nii.gz", ".nii")


def stem(path: Path) -> str:
    """Return the name of a NIfTI file without its suffix, and without nnU-Net's ``_0000``."""
    name = path.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name.removesuffix("_0000")


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file as a volume without unit.

    Parameters
    ----------
    path
        With three axes, or more of length one.

    Raises
    ------
    InputError
        The file can't be read, is no volume, or holds NaN or infinities.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = nibabel.Nifti1Image.from_filename(path)
            array = np.asarray(image.dataobj, dtype=np.float32)
    except LeptonError:
        raise
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The NIfTI file can't be read ({type(error).__name__})."
        raise InputError(message) from error
    shape = array.shape[:3]
    if len(shape) != 3 or array.size != np.prod(shape):
        message = f"The NIfTI file has the shape {array.shape}: one volume is needed."
        raise InputError(message)
    if not np.isfinite(array).all():
        message = f"The NIfTI file holds {np.count_nonzero(~np.isfinite(array))} values that aren't finite."
        raise InputError(message)
    grid = Grid.from_ras((shape[0], shape[1], shape[2]), np.asarray(image.affine))
    return Volume(np.asfortranarray(array.reshape(shape)), grid, "1")
