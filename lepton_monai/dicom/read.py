"""From an ordered series to a volume."""

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.volume import Volume
from lepton_monai.dicom.pixels import read_pixels
from lepton_monai.dicom.series import Series
from lepton_monai.dicom.values import padding_of, physical


def read_series(series: Series) -> Volume:
    """Read the pixels of a series in physical values.

    Parameters
    ----------
    series
        In order, as `volumes_of` and `scan` give it.

    Returns
    -------
    volume : Volume
        float32, computed in float64. Padding is invalid and set to the lowest valid value.

    Raises
    ------
    SeriesRefused
        Pixel data are cut, can't be decoded, or give values that aren't finite.
    """
    slices = map(read_pixels, series.headers)
    first = next(slices)  # before anything is allocated, since a header can claim any size
    array = np.empty(series.grid.shape, dtype=np.float32, order="F")
    valid: NDArray[np.bool_] | None = None
    findings = list(series.findings)
    masked = 0
    for k, (stored, has_other_bits) in enumerate(chain([first], slices)):
        header = series.headers[k]
        masked += has_other_bits
        with np.errstate(over="ignore", invalid="ignore"):
            array[:, :, k] = physical(header, stored, series.factor).T
        if not np.isfinite(array[:, :, k]).all():
            message = "Values aren't finite after the rescale."
            raise SeriesRefused(Finding("not_finite", message, series.uid, header.path))
        padding = padding_of(header, stored)
        if padding is not None:
            valid = np.ones(series.grid.shape, dtype=np.bool_, order="F") if valid is None else valid
            valid[:, :, k] = ~padding.T
    if masked:
        message = f"{masked} slices hold something in the bits that BitsStored leaves out."
        findings.append(Finding("high_bits_masked", message, series.uid))
    if valid is not None:
        if not valid.any():
            message = "Every voxel is padding."
            raise SeriesRefused(Finding("constant_image", message, series.uid))
        array[~valid] = array[valid].min()
        message = f"{int((~valid).sum())} voxels are padding, invalid and set to the lowest value."
        findings.append(Finding("pixel_padding", message, series.uid))
    return Volume(array, series.grid, series.unit, valid, tuple(findings))
