"""NIfTI volumes, from foreign files."""

import gzip
import io
import math
import warnings
from pathlib import Path

import nibabel
import numpy as np

from lepton_monai.core.errors import InputError, LeptonError
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume

SUFFIXES = (".nii.gz", ".nii")

LARGEST_VOXELS = 2**31
"""More than any scanner makes: 8 GB of float32."""

LARGEST_INFLATION = 1032
"""No gzip file can hold more bytes than so many times its own: zlib's technical notes."""

MOST_BEHIND = 2**20
"""Bytes behind the values that nobody minds."""

MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Metres, millimetres, micrometres: the lowest three bits of `xyzt_units` in nifti1.h."""


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
        The file can't be read, is no volume, claims more than it can hold, or holds NaN or infinities.
    """
    try:
        with warnings.catch_warnings(), _opened(path) as stream:
            warnings.simplefilter("ignore")
            holders = nibabel.Nifti1Image.make_file_map({"image": stream})
            image = nibabel.Nifti1Image.from_file_map(holders, mmap=False)
            grid = _grid(image)
            _require_plausible(image, path)
            array = np.asarray(image.dataobj, dtype=np.float32)
            _require_end(stream)
    except LeptonError:
        raise
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The NIfTI file can't be read ({type(error).__name__})."
        raise InputError(message) from error
    if not np.isfinite(array).all():
        message = f"The NIfTI file holds {np.count_nonzero(~np.isfinite(array))} values that aren't finite."
        raise InputError(message)
    return Volume(np.asfortranarray(array.reshape(grid.shape)), grid, "1")


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _require_end(stream: gzip.GzipFile | io.BufferedReader) -> None:
    """Read to the end: gzip compares its check sum there, and nibabel stops before."""
    if len(stream.read(MOST_BEHIND)) == MOST_BEHIND:
        message = "The NIfTI file goes on behind its values."
        raise InputError(message)


def _grid(image: nibabel.Nifti1Image) -> Grid:
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1:
        message = f"The NIfTI file has the shape {shape}: one volume is needed."
        raise InputError(message)
    affine = np.asarray(image.affine, dtype=np.float64).copy()
    affine[:3] *= MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 7, 1.0)
    return Grid.from_ras((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _require_plausible(image: nibabel.Nifti1Image, path: Path) -> None:
    """Refuse what a few bytes only claim: nibabel makes room for it before it reads."""
    stored = image.get_data_dtype()
    if stored.kind not in "iuf":
        message = f"The NIfTI file holds values of the type {stored}: real numbers are needed."
        raise InputError(message)
    voxels = math.prod(image.shape)
    claimed, there = voxels * stored.itemsize, path.stat().st_size
    if path.suffix == ".gz":
        there *= LARGEST_INFLATION
    if voxels > LARGEST_VOXELS or claimed > there:
        message = f"The NIfTI file claims {claimed} bytes of values; it can hold at most {there}."
        raise InputError(message)
