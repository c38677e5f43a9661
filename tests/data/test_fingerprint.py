"""What is measured of an image is measured of all of it."""

import numpy as np
import pytest

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.fingerprint import measure_spread


def test_the_spread_is_of_the_whole_image_whatever_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step as long as a row would meet the same column, air beside the body, in every row."""
    monkeypatch.setattr("lepton_monai.data.fingerprint.SPREAD_VOXELS", 500)
    for slices in (9, 10, 11):
        shape = (64, 50, slices)
        values = np.full(shape, -1000, dtype=np.int16, order="F")
        values[16:48] = 40
        low, high = measure_spread(Volume(values, Grid(shape, np.eye(4)), "HU"))
        assert (low, high) == (-1000.0, 40.0)


def test_the_spread_of_a_small_image_is_exact() -> None:
    values = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    volume = Volume(values, Grid(values.shape, np.eye(4)), "1")
    assert measure_spread(volume) == tuple(np.percentile(np.arange(1000), [1, 99]))
