"""Volumes that nothing but a maker's private elements tells apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from lepton_monai.dicom import Series, read_series, scan
from tests.dicom.catalogue.builders import stack

Change = Callable[[int, Dataset], None]

AXES = ("X", "Y", "Z")


def siemens(b_value: int, gradient: tuple[float, ...]) -> Change:
    def change(_k: int, dataset: Dataset) -> None:
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", str(b_value))
        if gradient:
            block.add_new(0x0E, "FD", list(gradient))

    return change


def ge(b_value: int, gradient: tuple[float, ...]) -> Change:
    def change(_k: int, dataset: Dataset) -> None:
        dataset.private_block(0x0019, "ANOTHER 1.0", create=True).add_new(0xBB, "SQ", [])
        dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [b_value, 8, 0, 0])
        block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
        for element, number in zip((0xBB, 0xBC, 0xBD), gradient or (0.0, 0.0, 0.0), strict=True):
            block.add_new(element, "DS", f"{number:.6f}")

    return change


def philips(b_value: int, gradient: tuple[float, ...]) -> Change:
    def change(_k: int, dataset: Dataset) -> None:
        block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
        block.add_new(0x03, "FL", float(b_value))
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        for element, number in zip((0xB0, 0xB1, 0xB2), gradient or (0.0, 0.0, 0.0), strict=True):
            block.add_new(element, "FL", number)

    return change


VOLUMES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()),
    (1000, (1.0, 0.0, 0.0)),
    (1000, (0.0, 0.6, 0.8)),
    (2500, (0.0, 0.6, 0.8)),
)


def written(folder: Path, maker: Callable[[int, tuple[float, ...]], Change]) -> list[Any]:
    return [
        stack(folder, maker(*said), kind="MR", number=number, shape=(7, 6, 5))
        for number, said in enumerate(VOLUMES)
    ]


def every_file(folder: Path, change: Callable[[Dataset], None]) -> None:
    for path in folder.rglob("*"):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)


def parts_of(folder: Path) -> list[Series]:
    index = scan([folder])
    assert not index.refused
    return sorted(index.series, key=lambda one: one.headers[0].identity.instance_uid)


@pytest.mark.parametrize("maker", [siemens, ge, philips])
def test_each_b_value_and_direction_of_each_maker_is_a_volume(
    tmp_path: Path, maker: Callable[[int, tuple[float, ...]], Change]
) -> None:
    truths = written(tmp_path, maker)
    found = parts_of(tmp_path)
    assert [one.headers[0].acquisition.b_value[0] for one in found] == [0.0, 1000.0, 1000.0, 2500.0]
    assert all("multiple_b_values" in {finding.code for finding in one.findings} for one in found)
    for series, truth in zip(found, truths, strict=True):
        np.testing.assert_array_equal(
            np.sort(read_series(series).array.ravel()), np.sort(truth.values.ravel())
        )
    # No direction is stated: it is in axes of the maker's own.
    assert {one.headers[0].acquisition.b_value[1] for one in found} == {None}


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("maker", [siemens, ge, philips])
def test_so_it_is_in_every_encoding(
    tmp_path: Path, maker: Callable[[int, tuple[float, ...]], Change], syntax: UID
) -> None:
    written(tmp_path, maker)
    for path in tmp_path.rglob("*"):
        dataset = pydicom.dcmread(path)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(
            path,
            dataset,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            force_encoding=True,
        )
    assert len(parts_of(tmp_path)) == len(VOLUMES)


def test_they_are_found_where_an_anonymiser_has_dropped_the_creators(tmp_path: Path) -> None:
    written(tmp_path, siemens)

    def drop(dataset: Dataset) -> None:
        del dataset[0x0019, 0x0010]

    every_file(tmp_path, drop)
    assert len(parts_of(tmp_path)) == len(VOLUMES)


def test_another_makers_element_of_the_same_number_says_nothing(tmp_path: Path) -> None:
    written(tmp_path, siemens)

    def rename(dataset: Dataset) -> None:
        dataset[0x0019, 0x0010].value = "SOMEBODY ELSE"

    every_file(tmp_path, rename)
    (refused,) = scan([tmp_path]).refused
    assert refused.finding.code == "conflicting_duplicate"


@pytest.mark.parametrize(("said", "meant"), [(1_000_000_050, 50.0), (50, 50.0), (-1, None), (30_000, None)])
def test_flags_of_ge_are_no_part_of_the_b_value(tmp_path: Path, said: int, meant: float | None) -> None:
    stack(tmp_path, ge(said, ()), kind="MR")
    (series,) = scan([tmp_path]).series
    assert series.headers[0].acquisition.b_value[0] == meant


def test_what_the_standard_says_goes_before_what_a_maker_says(tmp_path: Path) -> None:
    def both(k: int, dataset: Dataset) -> None:
        siemens(50, ())(k, dataset)
        dataset.DiffusionBValue = 800.0

    stack(tmp_path, both, kind="MR")
    (series,) = scan([tmp_path]).series
    assert series.headers[0].acquisition.b_value[0] == 800.0
