"""Stored values come out of every transfer syntax as they went in: others decode the same files."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.dicom.frames import read_header
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.pixels import PixelReader, read_stored
from lepton_monai.dicom.tags import NATIVE
from tests.dicom.changed import change, codes, the_refusal, the_volume
from tests.phantoms import tiny_ct

Stored = NDArray[np.integer[Any]]
Encode = Callable[[Stored], bytes]

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG, EXTENDED, LOSSLESS_14, LOSSLESS = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS, JPEG_LS_NEAR, JPEG_2000, JPEG_2000_LOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 81, 90, 91))
HTJ2K = "1.2.840.10008.1.2.4.201"

KINDS = [
    *((np.uint8, 8), (np.uint8, 7), (np.uint16, 16), (np.uint16, 12), (np.uint16, 10)),
    *((np.int16, 16), (np.int16, 12)),
]
"""Type and bits stored."""


def values_of(dtype: type, bits: int, columns: int = 23, rows: int = 17) -> Stored:
    """Return one slice ``(columns, rows, 1)`` that runs smoothly through all that the bits can hold."""
    low = -(1 << (bits - 1)) if np.issubdtype(dtype, np.signedinteger) else 0
    ramp = np.linspace(low, low + (1 << bits) - 1, columns * rows).reshape(columns, rows, 1)
    return np.rint(ramp).astype(dtype)


def jpeg_lossless(bits: int) -> Encode:
    """Code two's complement of so many bits, as signed files hold it."""

    def encode(rows: Stored) -> bytes:
        plain = rows.astype(np.uint16) & ((1 << bits) - 1)
        plain = plain.astype(np.uint8) if bits <= 8 else plain
        return bytes(imagecodecs.ljpeg_encode(plain, bitspersample=bits))

    return encode


def jpeg_2000(rows: Stored) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(rows, codecformat="j2k", reversible=True, mct=False))


def high_throughput(rows: Stored) -> bytes:
    return bytes(imagecodecs.htj2k_encode(rows))


def jpeg_ls(rows: Stored) -> bytes:
    return bytes(imagecodecs.jpegls_encode(rows.view(f"u{rows.dtype.itemsize}")))


def jpeg_baseline(rows: Stored) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(rows, level=90))


def write_stream(
    folder: Path, stored: Stored, syntax: str, encode: Encode, bits: int, fragments: int = 1
) -> Path:
    """Write one slice with a stream of our own making."""

    def compress(_k: int, dataset: pydicom.Dataset) -> None:
        stream = encode(np.ascontiguousarray(stored[:, :, 0].T))
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        dataset.PixelData = encapsulate([stream], fragments_per_frame=fragments)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    return tiny_ct(folder, stored=stored, bits_stored=bits, per_slice=compress).paths[0]


def header_of(path: Path) -> Header:
    header = read_header(path)
    assert isinstance(header, Header), header
    return header


def by_pydicom(path: Path) -> Stored:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd files, odd remarks
        pixels: Stored = pydicom.dcmread(path).pixel_array
    return pixels


def by_simpleitk(path: Path) -> NDArray[np.float64]:
    values: NDArray[np.float64] = sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat64))[0]
    return values


# ------------------------------------------------------------------------------- what we write
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, RLE, JPEG_LS, JPEG_2000])
def test_every_syntax_gives_the_values_that_were_written(
    tmp_path: Path, syntax: str, kind: tuple[type, int]
) -> None:
    dtype, bits = kind
    stored = values_of(dtype, bits)
    path = tiny_ct(tmp_path, stored=stored, bits_stored=bits, transfer_syntax=syntax).paths[0]
    with PixelReader() as reader:
        found, masked = reader.read(header_of(path))
    np.testing.assert_array_equal(found, stored[:, :, 0].T)
    assert not masked
    assert codes(the_volume(tmp_path)) == ["single_slice"]
    if bits != 7:  # GDCM wants eight of eight
        np.testing.assert_array_equal(by_simpleitk(path), found * 2.0 - 1024)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("syntax", [LOSSLESS_14, LOSSLESS])
def test_lossless_jpeg_gives_what_simpleitk_sees(
    tmp_path: Path, syntax: str, kind: tuple[type, int]
) -> None:
    dtype, bits = kind
    stored = values_of(dtype, bits)
    path = write_stream(tmp_path, stored, syntax, jpeg_lossless(bits), bits)
    with PixelReader() as reader:
        found, masked = reader.read(header_of(path))
    np.testing.assert_array_equal(found, stored[:, :, 0].T)
    assert not masked
    if bits != 7:  # GDCM wants eight of eight
        np.testing.assert_array_equal(by_simpleitk(path), found * 2.0 - 1024)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("syntax", [JPEG_2000, JPEG_2000_LOSSY, *(f"{HTJ2K[:-1]}{n}" for n in (1, 2, 3))])
def test_every_kind_of_jpeg_2000_gives_the_values_that_were_written(
    tmp_path: Path, syntax: str, kind: tuple[type, int]
) -> None:
    dtype, bits = kind
    stored = values_of(dtype, bits)
    encode = high_throughput if ".4.20" in syntax else jpeg_2000
    path = write_stream(tmp_path, stored, syntax, encode, bits)
    np.testing.assert_array_equal(read_stored(header_of(path)), stored[:, :, 0].T)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_thirty_two_bits_are_read(tmp_path: Path, syntax: str, dtype: type) -> None:
    stored = values_of(dtype, 31 if dtype is np.uint32 else 32)
    path = tiny_ct(tmp_path, stored=stored, transfer_syntax=syntax).paths[0]
    np.testing.assert_array_equal(read_stored(header_of(path)), stored[:, :, 0].T)


def test_baseline_jpeg_is_what_pillow_and_simpleitk_make_of_it(tmp_path: Path) -> None:
    stored = values_of(np.uint8, 8)
    path = write_stream(tmp_path, stored, JPEG, jpeg_baseline, 8)
    found = read_stored(header_of(path))
    np.testing.assert_array_equal(found, by_pydicom(path))
    assert np.abs(found.astype(int) - stored[:, :, 0].T).max() < 12
    # GDCM's cosine transform rounds otherwise.
    assert np.abs(by_simpleitk(path) - (found * 2.0 - 1024)).max() <= 2


@pytest.mark.parametrize("fragments", [2, 3])
def test_a_frame_may_come_in_fragments(tmp_path: Path, fragments: int) -> None:
    stored = values_of(np.uint16, 16)
    path = write_stream(tmp_path, stored, JPEG_LS, jpeg_ls, 16, fragments)
    np.testing.assert_array_equal(read_stored(header_of(path)), stored[:, :, 0].T)


@pytest.mark.parametrize("rows", [5, 6])
def test_eight_bits_in_big_endian_words_are_swapped_in_pairs(tmp_path: Path, rows: int) -> None:
    stored = values_of(np.uint8, 8, columns=7, rows=rows)

    def as_words(_k: int, dataset: pydicom.Dataset) -> None:
        pairs = np.frombuffer(dataset.PixelData, dtype="<u2")
        dataset.PixelData = pairs.astype(">u2").tobytes()
        dataset["PixelData"].VR = "OW"

    path = tiny_ct(tmp_path, stored=stored, transfer_syntax=BIG, per_slice=as_words).paths[0]
    np.testing.assert_array_equal(read_stored(header_of(path)), stored[:, :, 0].T)
    np.testing.assert_array_equal(by_pydicom(path), stored[:, :, 0].T)


# ------------------------------------------------------------------------------- what others wrote
def completed(name: str, folder: Path) -> Path:
    """Give one of pydicom's files the UIDs and the place that it may lack; its pixels stay."""
    dataset = pydicom.dcmread(PYDICOM_FILES / name)
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2.3", "1.2.3.4"
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
    dataset.save_as(folder / name)
    return folder / name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "693_J2KI.dcm",
            "CT_small.dcm",
            "J2K_pixelrep_mismatch.dcm",
            "JPEG2000.dcm",
            "examples_overlay.dcm",
        ),
        *("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small.dcm", "MR_small_RLE.dcm"),
        *("MR_small_bigendian.dcm", "MR_small_implicit.dcm"),
        *(
            "MR_small_jp2klossless.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
            "MR_small_padded.dcm",
            "image_dfl.dcm",
        ),
    ],
)
def test_the_files_of_pydicom_are_decoded_as_it_decodes_them(tmp_path: Path, name: str) -> None:
    path = completed(name, tmp_path)
    np.testing.assert_array_equal(read_stored(header_of(path)), by_pydicom(path))


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_twelve_bit_jpeg_is_what_simpleitk_makes_of_it(tmp_path: Path, name: str) -> None:
    path = completed(name, tmp_path)
    header = header_of(path)
    assert header.layout.transfer_syntax_uid == EXTENDED
    found = read_stored(header) * (header.values.slope or 1.0) + (header.values.intercept or 0.0)
    assert found.std() > 10
    assert np.abs(by_simpleitk(path) - found).max() <= 1  # cosine transforms round as they like


def test_a_damaged_stream_with_a_delimiter_in_it_is_refused(tmp_path: Path) -> None:
    path = completed("JPEG2000-embedded-sequence-delimiter.dcm", tmp_path)
    with pytest.raises(SeriesRefused, match="undecodable"):
        read_stored(header_of(path))


# ------------------------------------------------------------------------------- bits
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_rubbish_above_the_high_bit_is_masked_with_a_remark(tmp_path: Path, dtype: type) -> None:
    stored = values_of(dtype, 12)
    dirty = stored ^ np.array(0x5000, dtype=np.uint16).astype(dtype)
    path = tiny_ct(tmp_path, stored=dirty, bits_stored=12).paths[0]
    np.testing.assert_array_equal(read_stored(header_of(path)), stored[:, :, 0].T)
    assert codes(the_volume(tmp_path)) == ["single_slice", "high_bits_masked"]


def test_a_sign_is_extended_from_the_bits_stored_without_a_remark(tmp_path: Path) -> None:
    stored = values_of(np.int16, 12)
    path = tiny_ct(tmp_path, stored=stored & 0xFFF, bits_stored=12).paths[0]
    np.testing.assert_array_equal(read_stored(header_of(path)), stored[:, :, 0].T)
    assert codes(the_volume(tmp_path)) == ["single_slice"]


@pytest.mark.parametrize("rubbish", [0, 0b1010])
def test_values_at_the_upper_end_of_their_word_are_moved_down(tmp_path: Path, rubbish: int) -> None:
    stored = values_of(np.int16, 12)
    paths = tiny_ct(tmp_path, stored=(stored << 4) | rubbish, bits_stored=12).paths
    change(paths[0], HighBit=15)
    with PixelReader() as reader:
        found, masked = reader.read(header_of(paths[0]))
    np.testing.assert_array_equal(found, stored[:, :, 0].T)
    assert masked is bool(rubbish)


@pytest.mark.parametrize(
    "bits",
    [
        {"BitsAllocated": 12},
        {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
        {"BitsAllocated": 64},
        {"BitsStored": 17},
        {"HighBit": 16},
        {"BitsStored": 16, "HighBit": 11},
    ],
    ids=str,
)
def test_bits_that_do_not_go_together_are_refused(tmp_path: Path, bits: dict[str, int]) -> None:
    for path in tiny_ct(tmp_path).paths:
        change(path, **bits)
    assert the_refusal(tmp_path) == "bad_header"


# ------------------------------------------------------------------------------- cut files
@pytest.mark.parametrize("lost", [1, 2, 3, 40, 83, 84])
@pytest.mark.parametrize("syntax", sorted(NATIVE - {DEFLATED}))
def test_pixel_data_that_are_cut_are_refused_at_any_length(tmp_path: Path, syntax: str, lost: int) -> None:
    path = tiny_ct(tmp_path, transfer_syntax=syntax).paths[2]
    path.write_bytes(path.read_bytes()[:-lost])
    assert the_refusal(tmp_path) == "truncated_pixel_data"


@pytest.mark.parametrize("stated", [0, 2, 82, 83])
def test_pixel_data_that_say_to_be_short_are_refused(tmp_path: Path, stated: int) -> None:
    path = tiny_ct(tmp_path).paths[2]
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00OW") + 8
    path.write_bytes(content[:at] + stated.to_bytes(4, "little") + content[at + 4 :])
    assert the_refusal(tmp_path) == "truncated_pixel_data"


@pytest.mark.parametrize("more", [2, 200])
def test_excess_is_left_alone_with_a_remark(tmp_path: Path, more: int) -> None:
    phantom = tiny_ct(tmp_path)
    for path in phantom.paths:
        change(path, PixelData=pydicom.dcmread(path).PixelData + b"\xff" * more)
    volume = the_volume(tmp_path)
    np.testing.assert_array_equal(np.sort(volume.array, None), np.sort(phantom.values, None))
    assert codes(volume) == ["excess_pixel_data"]


def test_a_file_without_pixel_data_is_refused(tmp_path: Path) -> None:
    change(tiny_ct(tmp_path).paths[0], PixelData=None)
    assert the_refusal(tmp_path) == "truncated_pixel_data"


STREAMS: list[tuple[str, Encode, type, int]] = [
    (JPEG, jpeg_baseline, np.uint8, 8),
    (LOSSLESS, jpeg_lossless(12), np.uint16, 12),
    (JPEG_LS, jpeg_ls, np.uint16, 16),
    (JPEG_2000, jpeg_2000, np.int16, 16),
    (HTJ2K, high_throughput, np.uint16, 16),
]


@pytest.mark.parametrize(("syntax", "encode", "dtype", "bits"), STREAMS, ids=[one[0] for one in STREAMS])
def test_a_compressed_image_that_is_cut_is_never_filled_up(
    tmp_path: Path, syntax: str, encode: Encode, dtype: type, bits: int
) -> None:
    """Left to themselves, three of these five decoders fill up with something and say nothing."""
    stored = values_of(dtype, bits)
    path = write_stream(tmp_path, stored, syntax, encode, bits)
    content = path.read_bytes()
    whole = read_stored(header_of(path))
    start = content.index(b"\xe0\x7f\x10\x00OB") + 12
    path.write_bytes(content[:-8])  # the delimiter alone is lost: some writers never write it
    np.testing.assert_array_equal(read_stored(header_of(path)), whole)
    for end in range(start, len(content) - 8):
        path.write_bytes(content[:end])
        with pytest.raises(SeriesRefused, match=r"truncated|undecodable"):
            read_stored(header_of(path))


def test_run_lengths_that_are_cut_are_never_filled_up(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path, stored=values_of(np.int16, 12), transfer_syntax=RLE).paths[0]
    content = path.read_bytes()
    for end in range(content.index(b"\xe0\x7f\x10\x00OB") + 12, len(content) - 8):
        path.write_bytes(content[:end])
        with pytest.raises(SeriesRefused, match=r"truncated|undecodable"):
            read_stored(header_of(path))


@pytest.mark.parametrize(("syntax", "encode", "dtype", "bits"), STREAMS, ids=[one[0] for one in STREAMS])
def test_a_stream_of_another_size_than_the_header_says_is_refused(
    tmp_path: Path, syntax: str, encode: Encode, dtype: type, bits: int
) -> None:
    path = write_stream(tmp_path, values_of(dtype, bits), syntax, encode, bits)
    for changes in ({"Rows": 16}, {"Columns": 24}, {"Rows": 23, "Columns": 17}):
        change(path, Rows=17, Columns=23)
        change(path, **changes)
        with pytest.raises(SeriesRefused, match=r"compressed image is \(17, 23, 1\)"):
            read_stored(header_of(path))


def test_a_syntax_that_nobody_here_decodes_is_refused_by_name(tmp_path: Path) -> None:
    for path in tiny_ct(tmp_path).paths:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.10008.1.2.4.100")  # MPEG2
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    assert the_refusal(tmp_path) == "unsupported_transfer_syntax"
