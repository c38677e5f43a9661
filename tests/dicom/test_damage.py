"""Damage that hostile files have shown to be taken for images, or to end a whole scan."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom import scan
from lepton_monai.dicom.codecs import DECODERS
from lepton_monai.dicom.file import ParsedFile, parse_file
from lepton_monai.dicom.frames import read_header
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.pixels import read_stored
from tests.dicom.catalogue.builders import every, stack
from tests.dicom.changed import the_series
from tests.phantoms import Dose, tiny_ct, tiny_pet, unique_values

BIG = "1.2.840.10008.1.2.2"
JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"


def _replaced(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


@pytest.mark.parametrize("vr", [b"??", b"O\xff", b"\0\0", b"US", b"FD"])
def test_pixel_data_of_another_vr_are_refused_and_the_scan_goes_on(tmp_path: Path, vr: bytes) -> None:
    stack(tmp_path / "a", series_uid="1.2.8")
    paths = tiny_ct(tmp_path / "b").paths
    for path in paths:
        _replaced(path, b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00" + vr)
    index = scan([tmp_path])
    assert [series.uid for series in index.series] == ["1.2.8"]
    assert len(index.refused) + len(index.findings) > 0


def test_an_empty_value_among_others_keeps_its_place_in_big_endian(tmp_path: Path) -> None:
    stack(tmp_path, every(ImageType=["ORIGINAL", "", "AXIAL"]), shape=(7, 6, 1), transfer_syntax=BIG)
    (path,) = tmp_path.iterdir()
    parsed = parse_file(path)
    assert isinstance(parsed, ParsedFile)
    assert parsed.elements.texts("ImageType") == ("ORIGINAL", "", "AXIAL")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xfe\xff\x00\xe0", b"\xfe\xff\x40\xe0"),  # no item
        (b"\x18\x00\x74\x10DS\x0c", b"\x18\x00\x74\x10DS\x70"),  # the dose runs beyond its item
    ],
)
def test_an_isotope_whose_item_is_damaged_refuses_the_file(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tiny_pet(tmp_path, dose=Dose()).paths[0]
    found = read_header(_replaced(path, old, new))
    assert isinstance(found, Finding)
    assert found.code == "bad_header"


def _streams(stream: bytes, first: int) -> list[bytes]:
    """Return copies of a stream, each with one other byte behind its header."""
    return [
        stream[:at] + bytes([stream[at] ^ 0x55]) + stream[at + 1 :] for at in range(first, len(stream) - 2)
    ]


def test_what_the_decoder_of_htj2k_keeps_to_itself_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """imagecodecs returns what was in memory before, and tells the interpreter's hook alone."""
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    rows = unique_values((24, 16, 1), np.uint16)[:, :, 0].T
    header = read_header(tiny_ct(tmp_path, stored=rows.T[:, :, None]).paths[0])
    assert isinstance(header, Header)
    stream = bytes(imagecodecs.htj2k_encode(rows))
    swallowed = []
    for damaged in _streams(stream, stream.index(b"\xff\x93") + 2):
        ignored.clear()
        with contextlib.suppress(ValueError, RuntimeError):
            imagecodecs.htj2k_decode(damaged)
        if ignored:
            swallowed.append(damaged)
    ignored.clear()
    for damaged in swallowed:
        with pytest.raises(ValueError, match="ojph"):
            DECODERS[HTJ2K](damaged, header.layout)
    assert ignored == []
    print(f"{len(swallowed)} damaged HTJ2K streams of which imagecodecs says nothing: all refused")
    assert swallowed


def test_a_jpeg_2000_stream_that_lacks_tiles_is_refused(tmp_path: Path) -> None:
    """The decoder would give zeros for them."""
    path = tiny_ct(tmp_path, transfer_syntax=JPEG_2000).paths[0]
    content = path.read_bytes()
    height = content.index(b"\xff\x4f\xff\x51") + 8 + 20
    assert content[height : height + 4] == b"\0\0\0\6"
    path.write_bytes(content[:height] + b"\0\0\0\2" + content[height + 4 :])
    header = read_header(path)
    assert isinstance(header, Header)
    with pytest.raises(SeriesRefused) as caught:
        read_stored(header)
    assert caught.value.finding.code == "undecodable_pixel_data"


def test_an_unknown_vr_of_an_element_that_nobody_needs_is_no_guess_of_ours(tmp_path: Path) -> None:
    """How long it is, is unknown: what pydicom takes it for decides whether anything follows."""
    path = tiny_ct(tmp_path).paths[2]
    _replaced(path, b"\x20\x00\x40\x10LO", b"\x20\x00\x40\x10\x01\x00")
    assert isinstance(read_header(path), Finding)


def test_text_of_a_broken_character_set_is_read_without_a_word(tmp_path: Path) -> None:
    for path in tiny_ct(tmp_path, extra={"SpecificCharacterSet": "ISO_IR 100"}).paths:
        _replaced(_replaced(path, b"ISO_IR 100", b"ISO_IR 999"), b"TINY CT", b"TIN\x1b\xffCT")
    assert the_series(tmp_path).modality == "CT"


@pytest.mark.parametrize("syntax", [JPEG_2000, "1.2.840.10008.1.2.4.80"])
def test_a_compressed_image_of_more_bits_than_its_header_says_is_refused(
    tmp_path: Path, syntax: str
) -> None:
    """Found among 100,000 mutated files: what lies above BitsStored there is no overlay, but the image."""
    stored = unique_values(lowest=300)
    path = tiny_ct(tmp_path, stored=stored, transfer_syntax=syntax).paths[0]
    dataset = dcmread(path)
    dataset.BitsStored, dataset.HighBit = 3, 2
    dataset.save_as(path)
    header = read_header(path)
    assert isinstance(header, Header)
    with pytest.raises(SeriesRefused) as caught:
        read_stored(header)
    assert "more bits than the header says: 3" in caught.value.finding.message
