"""From an ordered series to a volume."""

import numpy as np

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.volume import Volume
from lepton_monai.dicom.pixels import read_stored
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
    array = np.empty(series.grid.shape, dtype=np.float32, order="F")
    valid = np.ones(series.grid.shape, dtype=np.bool_, order="F")
    for k, header in enumerate(series.headers):
        stored = read_stored(header)
        values = physical(header, stored, series.factor).T
        if not np.isfinite(values).all():
            message = "Values aren't finite after the rescale."
            raise SeriesRefused(Finding("not_finite", message, series.uid, header.path))
        array[:, :, k] = values
        padding = padding_of(header, stored)
        if padding is not None:
            valid[:, :, k] = ~padding.T
    if valid.all():
        return Volume(array, series.grid, series.unit, None, series.findings)
    if not valid.any():
        message = "Every voxel is padding."
        raise SeriesRefused(Finding("constant_image", message, series.uid))
    array[~valid] = array[valid].min()
    message = f"{int((~valid).sum())} voxels are padding, invalid and set to the lowest value."
    padded = Finding("pixel_padding", message, series.uid)
    return Volume(array, series.grid, series.unit, valid, (*series.findings, padded))
