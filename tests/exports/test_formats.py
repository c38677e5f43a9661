"""A mask of every kind of series comes back from every object, or the object is refused by name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from lepton_monai.dicom import scan
from lepton_monai.exports.formats import FILES, write_objects
from lepton_monai.labels.codes import ClassCodes, Code
from lepton_monai.labels.labelset import Regions
from lepton_monai.labels.rtstruct import rasterise, read_structures
from lepton_monai.labels.seg import read_segments
from tests.dicom.catalogue import CATALOGUE
from tests.dicom.catalogue.enhanced import MANY_FRAMES
from tests.exports.test_rtstruct import CLASSES, only_series, prediction_of, two_classes
from tests.exports.test_sr import named_items
from tests.phantoms import tiny_ct

OBJECTS = ["seg", "rtstruct", "sr"]

REFUSED = {"mosaic": ["tiles of a mosaic", "refers to the SEG"]}
"""By the row of the catalogue, what SEG and SR are refused for."""


def _require(drawn: Regions, classes: NDArray[np.uint8]) -> None:
    for number, region in enumerate(drawn.regions, start=1):
        np.testing.assert_array_equal(region.mask, classes == number)


NAMES = [*{one.row: one.name for one in CATALOGUE.values()}.values(), *(one.name for one in MANY_FRAMES)]
"""One series of every row, and all with many frames in a file, where an object refers to each of them."""


@pytest.mark.parametrize("name", dict.fromkeys(NAMES))
def test_a_mask_of_it_comes_back_and_no_part_takes_the_uid_of_another(tmp_path: Path, name: str) -> None:
    CATALOGUE[name].write(tmp_path / "series")
    reasons = REFUSED.get(CATALOGUE[name].row, [])
    uids: list[str] = []
    for at, series in enumerate(scan([tmp_path / "series"]).series):
        classes, folder = two_classes(series.grid.shape), tmp_path / str(at)
        written, findings = write_objects(prediction_of(series), folder, OBJECTS)
        assert len(written) == len(OBJECTS) - len(reasons)
        for reason, finding in zip(reasons, findings, strict=True):
            assert reason in finding.message
        _require(rasterise(read_structures(folder / FILES["rtstruct"]), series.grid), classes)
        if "seg" in written:
            _require(read_segments(folder / FILES["seg"], series.grid), classes)
        uids += [str(dcmread(folder / FILES[one]).SOPInstanceUID) for one in written]
    assert len(set(uids)) == len(uids)


def test_every_object_says_what_a_class_is(tmp_path: Path) -> None:
    tiny_ct(tmp_path / "ct")
    category = Code("49755003", "SCT", "Morphologically Abnormal Structure")
    mass = Code("4147007", "SCT", "Mass")
    untold = prediction_of(only_series(tmp_path / "ct"))
    told = replace(untold, codes={CLASSES[0]: ClassCodes(category, mass)})
    write_objects(told, tmp_path / "out", OBJECTS)
    seg, rtstruct, sr = (dcmread(tmp_path / "out" / FILES[one]) for one in OBJECTS)

    first, second = seg.SegmentSequence
    assert _code(first.SegmentedPropertyCategoryCodeSequence) == category
    assert _code(first.SegmentedPropertyTypeCodeSequence) == mass
    assert _code(second.SegmentedPropertyTypeCodeSequence).meaning == "Tissue"
    first, second = rtstruct.RTROIObservationsSequence
    assert _code(first.RTROIIdentificationCodeSequence) == mass
    assert "RTROIIdentificationCodeSequence" not in second
    kinds = [_code(one.ConceptCodeSequence) for one in named_items(sr, "Finding")]
    categories = [_code(one.ConceptCodeSequence) for one in named_items(sr, "Finding category")]
    assert (kinds[0], categories[0]) == (mass, category)
    assert kinds[1].meaning == "Tissue"
    assert told.uid("SEG") != untold.uid("SEG")


def _code(items: Sequence[Dataset]) -> Code:
    (item,) = items
    return Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)


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
    written, _ = write_objects(prediction_of(series), tmp_path, OBJECTS)
    for name in written:
        dataset = dcmread(tmp_path / FILES[name])
        assert str(dataset.PatientName) == patient
        assert dataset.SeriesDescription.endswith("Läsion, 2")
