"""Every series that we read, in every format: the mask comes back, or the object is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from lepton_monai.dicom import Series, scan
from lepton_monai.exports.formats import FILES, write_formats
from lepton_monai.labels.files import read_nifti_labels
from lepton_monai.labels.labelset import Mask, Regions
from lepton_monai.labels.rtstruct import rasterise, read_structures
from lepton_monai.labels.seg import read_segments
from tests.dicom.catalogue import CATALOGUE
from tests.exports.test_rtstruct import MAKER, two_classes
from tests.phantoms import tiny_ct

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


@pytest.mark.parametrize("character_set", ["", "ISO_IR 100", "ISO 2022 IR 87", "ISO_IR 192"])
def test_names_keep_their_letters_in_every_object(tmp_path: Path, character_set: str) -> None:
    patient = {"ISO_IR 100": "Müller^Jürgen", "ISO 2022 IR 87": "Yamada^Tarou=山田^太郎"}.get(
        character_set, "Doe^Jo"
    )

    def named(_: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = ["", character_set] if "2022" in character_set else character_set
        dataset.PatientName = patient

    tiny_ct(tmp_path / "ct", per_slice=named)
    (series,) = scan([tmp_path / "ct"]).series
    mask = Mask(two_classes(series.grid.shape), series.grid)
    files, _ = write_formats(mask, series, MAKER, tmp_path, list(FILES))
    for file in files[1:]:
        dataset = dcmread(tmp_path / file)
        assert str(dataset.PatientName) == patient
        assert dataset.SeriesDescription.endswith("Läsion, 2")
