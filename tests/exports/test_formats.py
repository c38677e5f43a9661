"""Every series that we read, in every format: the mask comes back, or the object is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_monai.dicom import Series, scan
from lepton_monai.exports.formats import FILES, write_formats
from lepton_monai.labels.files import read_nifti_labels
from lepton_monai.labels.labelset import Mask, Regions
from lepton_monai.labels.rtstruct import rasterise, read_structures
from lepton_monai.labels.seg import read_segments
from tests.dicom.catalogue import CATALOGUE
from tests.exports.test_rtstruct import MAKER, two_classes

REFUSED = {"mosaic": ["tiles of a mosaic", "refers to the SEG"]}
"""By the row of the catalogue, what SEG and SR are refused for."""

MASKS = ("nifti", "seg", "rtstruct")


def _read(path: Path, name: str, series: Series) -> Regions:
    if name == "seg":
        return read_segments(path, series.grid)
    if name == "rtstruct":
        return rasterise(read_structures(path), series.grid)
    return read_nifti_labels(path, series.grid)


def _require(drawn: Regions, classes: NDArray[np.uint8]) -> None:
    for number, region in enumerate(drawn.regions, start=1):
        np.testing.assert_array_equal(region.mask, classes == number)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_mask_of_it_comes_back_from_every_format(tmp_path: Path, name: str) -> None:
    CATALOGUE[name].write(tmp_path / "series")
    for at, series in enumerate(scan([tmp_path / "series"]).series):
        classes = two_classes(series.grid.shape)
        files, findings = write_formats(
            Mask(classes, series.grid), series, MAKER, tmp_path / str(at), list(FILES)
        )
        reasons = REFUSED.get(CATALOGUE[name].row, [])
        assert len(files) == len(FILES) - len(reasons)
        for reason, finding in zip(reasons, findings, strict=True):
            assert reason in finding.message
        for kind in MASKS:
            if FILES[kind] in files:
                _require(_read(tmp_path / str(at) / FILES[kind], kind, series), classes)
