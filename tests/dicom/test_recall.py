from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lepton_monai.dicom.file import ParsedFile, parse_file
from lepton_monai.dicom.recall import Recall
from sample_data.dicom_files import SeriesOptions, identity, write_series

AFFINE = np.array([[0.7, 0, 0, -11.5], [0, 0.8, 0, 7.25], [0, 0, 2.5, -103.5], [0, 0, 0, 1.0]])
SLICES = 40


def _vary(k: int, dataset: Dataset) -> None:
    """Change values in content and length, one element now and then, a sequence, a private block."""
    dataset.XRayTubeCurrent = 95 + k
    if k % 7 == 3:
        dataset.SpacingBetweenSlices = "2.5"
    dataset.Exposure = 3 + k % 3
    item = Dataset()
    item.ReferencedSOPInstanceUID = f"1.2.{k}"
    dataset.ReferencedImageSequence = [item] * (k % 2)
    block = dataset.private_block(0x0019, "VENDOR", create=True)
    for element in range(12):
        block.add_new(element, "LO", f"{element} {k if element == 5 else 'same'}")
    block.add_new(0x20, "OB", bytes(3000) + bytes([k % 5, 0]))


def _write(folder: Path, name: str, syntax: str = ExplicitVRLittleEndian) -> list[Path]:
    stored = np.arange(6 * 5 * SLICES, dtype=np.int16).reshape(6, 5, SLICES)
    options = SeriesOptions(description=name, transfer_syntax=syntax, per_slice=_vary)
    return write_series(folder / name, stored, AFFINE, identity(name), options)


def _content(parsed: object) -> tuple[object, ...]:
    assert isinstance(parsed, ParsedFile)
    return dict(parsed.elements), parsed.frames, parsed.transfer_syntax_uid, parsed.pixels


@pytest.mark.parametrize("order", ["one after the other", "in turns"])
def test_files_are_parsed_with_recall_as_without(tmp_path: Path, order: str) -> None:
    first, second = _write(tmp_path, "A"), _write(tmp_path, "LONGER NAME")
    implicit = _write(tmp_path, "IMPLICIT", ImplicitVRLittleEndian)
    turns = [path for trio in zip(first, second, implicit, strict=True) for path in trio]
    recall = Recall()
    for path in turns if order == "in turns" else [*first, *second, *implicit, *first]:
        assert _content(parse_file(path, recall)) == _content(parse_file(path)), path


def test_a_header_cut_inside_what_is_shared_ends_where_it_is_cut(tmp_path: Path) -> None:
    paths, recall = _write(tmp_path, "A"), Recall()
    for path in paths:
        parse_file(path, recall)
    whole = paths[-1].read_bytes()
    cut = tmp_path / "cut"
    for length in range(700, len(whole), 13):
        cut.write_bytes(whole[:length])
        assert _content(parse_file(cut, recall)) == _content(parse_file(cut)), length


def test_what_the_slices_of_a_series_share_is_met_and_not_walked(tmp_path: Path) -> None:
    recall = Recall()
    for path in _write(tmp_path, "A"):
        parse_file(path, recall)
    shared = sum(len(content) for content, _ in recall.stretches.values())
    assert shared > 500
