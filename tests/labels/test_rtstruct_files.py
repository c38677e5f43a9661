"""RTSTRUCT files that are odd, cut or rubbish: read right, or refused as a label."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from lepton_monai.core.errors import InputError, LabelError
from lepton_monai.core.grid import Grid
from lepton_monai.labels.labelset import Regions
from lepton_monai.labels.rtstruct import rasterise, read_structures
from sample_data.dicom_files import identity
from sample_data.label_files import write_rtstruct
from tests.phantoms import SHAPE, oblique_affine, rough_mask, tiny_ct

GRID = Grid(SHAPE, oblique_affine())
MASKS = {"GTV": rough_mask(), "CTV": rough_mask(seed=3)}


def _write(path: Path, change: Callable[[Dataset], None] | None = None) -> Path:
    uids = [f"1.2.{k}" for k in range(SHAPE[2])]
    write_rtstruct(path, MASKS, GRID.affine, identity("rt"), "1.2.3", uids)
    if change is not None:
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path)
    return path


def _read(path: Path) -> Regions:
    return rasterise(read_structures(path), GRID)


def _undefined_lengths(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True


@pytest.mark.parametrize("change", [None, _undefined_lengths], ids=["lengths", "delimiters"])
def test_a_cut_file_is_refused_or_complete_and_never_a_part(
    tmp_path: Path, change: Callable[[Dataset], None] | None
) -> None:
    """pydicom reads what is left of a cut sequence without a word."""
    whole = _write(tmp_path / "rt", change).read_bytes()
    wrong, complete = [], 0
    for length in [*range(0, len(whole), 61), *range(len(whole) - 40, len(whole) + 1)]:
        (tmp_path / "cut").write_bytes(whole[:length])
        try:
            drawn = _read(tmp_path / "cut")
        except LabelError:
            continue
        complete += 1
        if not all(np.array_equal(region.mask, MASKS[region.names[0]]) for region in drawn.regions):
            wrong.append(length)
    assert wrong == []
    assert complete > 0


def test_a_cut_file_is_refused_with_the_bytes_that_are_there(tmp_path: Path) -> None:
    path = _write(tmp_path / "rt")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(LabelError, match=r"is cut: \d+ of \d+ bytes of its ROIContourSequence are there"):
        read_structures(path)


def test_a_file_with_changed_bytes_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    whole = _write(tmp_path / "rt").read_bytes()
    generator = np.random.default_rng(7)
    refused = 0
    for _ in range(150):
        changed = bytearray(whole)
        for at in generator.integers(400, len(whole), 6):
            changed[at] = int(generator.integers(0, 256))
        (tmp_path / "changed").write_bytes(changed)
        try:
            _read(tmp_path / "changed")
        except InputError:
            refused += 1
    assert 0 < refused < 150


def _image(path: Path) -> Path:
    return tiny_ct(path / "ct").paths[0]


def _rubbish(path: Path) -> Path:
    (path / "rubbish").write_bytes(b"\x00\xff not DICOM at all " * 50)
    return path / "rubbish"


def _empty(path: Path) -> Path:
    (path / "empty").touch()
    return path / "empty"


@pytest.mark.parametrize("make", [_image, _rubbish, _empty, lambda path: path / "absent"])
def test_what_is_no_rtstruct_is_refused_as_a_label(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(LabelError, match="RTSTRUCT"):
        read_structures(make(tmp_path))


def _coordinates(*numbers: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        item = dataset.ROIContourSequence[1].ContourSequence[0]
        item.ContourData = [*item.ContourData[3:], *numbers]

    return change


@pytest.mark.parametrize(
    "numbers",
    [("nan", "1", "2"), ("inf", "1", "2"), ("1e300", "1", "2"), ("-1e7", "1", "2"), ("1", "2")],
    ids=" ".join,
)
@pytest.mark.filterwarnings("ignore")  # pydicom warns while such a file is written
def test_coordinates_that_are_no_points_are_refused(tmp_path: Path, numbers: tuple[str, ...]) -> None:
    with pytest.raises(LabelError, match="no points"):
        read_structures(_write(tmp_path / "rt", _coordinates(*numbers)))


def _first_number_twice(keyword: str, sequence: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        setattr(dataset[sequence][1], keyword, 1)

    return change


@pytest.mark.parametrize(
    ("keyword", "sequence"),
    [("ROINumber", "StructureSetROISequence"), ("ReferencedROINumber", "ROIContourSequence")],
)
def test_a_number_that_names_two_rois_is_refused(tmp_path: Path, keyword: str, sequence: str) -> None:
    with pytest.raises(LabelError, match=f"one {keyword} to two"):
        read_structures(_write(tmp_path / "rt", _first_number_twice(keyword, sequence)))


def _without(sequence: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        del dataset[sequence]

    return change


@pytest.mark.parametrize("sequence", ["StructureSetROISequence", "ROIContourSequence"])
def test_a_file_without_its_sequences_is_refused_instead_of_empty(tmp_path: Path, sequence: str) -> None:
    with pytest.raises(LabelError, match=f"no {sequence}"):
        read_structures(_write(tmp_path / "rt", _without(sequence)))


def _drop_contours(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0].ContourSequence


def _drop_item(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0]


def _no_contours(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence = []


@pytest.mark.parametrize("change", [_drop_contours, _drop_item, _no_contours])
def test_an_roi_without_contours_is_an_empty_region(
    tmp_path: Path, change: Callable[[Dataset], None]
) -> None:
    first, second = _read(_write(tmp_path / "rt", change)).regions
    assert first.names == ("GTV",)
    assert not first.mask.any()
    np.testing.assert_array_equal(second.mask, MASKS["CTV"])


@pytest.mark.parametrize("name", ["GTV [1]", "µ-Läsion ß", "腫瘍", "*?", "GTV/left", "a=b^c", 'say "no"'])
def test_odd_letters_of_a_name_are_kept(tmp_path: Path, name: str) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.StructureSetROISequence[0].ROIName = f" {name} "

    assert read_structures(_write(tmp_path / "rt", change))[0].name == name


def test_a_name_with_a_backslash_stays_one_name(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.StructureSetROISequence[0].ROIName = ["GTV", "boost"]

    assert read_structures(_write(tmp_path / "rt", change))[0].name == "GTV\\boost"


def test_contours_belong_to_names_by_number_whatever_their_order(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.ROIContourSequence = dataset.ROIContourSequence[::-1]

    for region in _read(_write(tmp_path / "rt", change)).regions:
        np.testing.assert_array_equal(region.mask, MASKS[region.names[0]])
