"""What is said of one file before its pixels, whatever the file is."""

import math
import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.annotation import Annotation
from lepton_monai.dicom.container import INFLATE_LIMIT_BYTES
from lepton_monai.dicom.frames import OtherObject, read_header
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.pixels import read_stored
from sample_data.junk import write_junk
from tests.dicom.changed import change
from tests.phantoms import SHAPE, tiny_ct, tiny_pet, tiny_rtstruct, tiny_seg

ROOT = Path(__file__).parents[2]
IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))


def code_of(path: Path) -> str:
    found = read_header(path)
    assert isinstance(found, Finding), found
    assert found.path == path
    return found.code


def header_of(path: Path) -> Header:
    found = read_header(path)
    assert isinstance(found, Header), found
    return found


def meta_end(content: bytes) -> int:
    """Return where the data set starts: PS3.10 section 7.1."""
    return 144 + int.from_bytes(content[140:144], "little")


# ------------------------------------------------------------------------------- an image
def test_a_header_holds_what_was_written(tmp_path: Path) -> None:
    extra = {"SpacingBetweenSlices": 2.5, "ImagesInAcquisition": 40, "BurnedInAnnotation": "YES"}
    phantom = tiny_ct(tmp_path, extra=extra, bits_stored=12)
    header = header_of(phantom.paths[3])
    columns, rows, _ = SHAPE
    placement = header.placement
    assert (placement.columns, placement.rows) == (columns, rows)
    np.testing.assert_allclose(placement.position, (phantom.affine_lps @ [0, 0, 3, 1])[:3], atol=1e-9)
    axes = phantom.affine_lps[:3, :2] / (0.9, 1.3)
    np.testing.assert_allclose(placement.orientation, axes.T.ravel(), atol=1e-9)
    assert placement.column_spacing_mm == pytest.approx(0.9)
    assert placement.row_spacing_mm == pytest.approx(1.3)
    assert placement.slice_thickness_mm == pytest.approx(2.7)
    assert placement.spacing_between_slices_mm == 2.5
    assert (header.layout.bits_allocated, header.layout.bits_stored, header.layout.signed) == (16, 12, True)
    assert (header.values.slope, header.values.intercept, header.values.rescale_type) == (
        2.0,
        -1024.0,
        "HU",
    )
    assert header.instance_number == 4
    assert header.acquisition.slices_declared == 40
    assert header.acquisition.burned_in_annotation
    assert header.identity.patient_key == phantom.who.patient_id
    assert header.identity.instance_uid == phantom.sop_uids[3]
    assert header.has_preamble
    assert header.pet is None


def test_a_patient_is_the_id_with_its_issuer_or_the_study(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path).paths[0]
    plain = header_of(path).identity.patient_key
    change(path, IssuerOfPatientID="HOSPITAL")
    assert header_of(path).identity.patient_key not in {plain, f"{plain}HOSPITAL"}
    change(path, PatientID="")
    assert header_of(path).identity.patient_key == f"study {header_of(path).identity.study_uid}"


def test_odd_values_are_read_without_a_word(tmp_path: Path) -> None:
    """Overlong decimals are common; warnings of a library are no findings."""
    path = tiny_ct(tmp_path).paths[0]
    content = path.read_bytes()
    odd = b"  -31.500000000000000000000000\\12.25\\7.75 "
    at = content.index(b"\x20\x00\x32\x00DS")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(content[: at + 6] + len(odd).to_bytes(2, "little") + odd + content[at + 8 + length :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert header_of(path).placement.position == (-31.5, 12.25, 7.75)


def test_a_pixel_spacing_that_is_absent_is_nan(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path).paths[0]
    change(path, PixelSpacing=None)
    assert math.isnan(header_of(path).placement.row_spacing_mm)


# ------------------------------------------------------------------------------- encodings
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_every_encoding_of_a_header_says_the_same(tmp_path: Path, syntax: str) -> None:
    expected = header_of(tiny_ct(tmp_path / "plain").paths[1])
    found = header_of(tiny_ct(tmp_path / "other", transfer_syntax=syntax).paths[1])
    for part in ("identity", "placement", "values", "acquisition"):
        assert getattr(found, part) == getattr(expected, part)
    np.testing.assert_array_equal(read_stored(found), read_stored(expected))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("keep_meta", [True, False])
def test_a_file_without_preamble_or_meta_group_is_read(
    tmp_path: Path, syntax: str, keep_meta: bool
) -> None:
    phantom = tiny_ct(tmp_path, transfer_syntax=syntax)
    content = phantom.paths[1].read_bytes()
    phantom.paths[1].write_bytes(content[132 if keep_meta else meta_end(content) :])
    header = header_of(phantom.paths[1])
    assert not header.has_preamble
    np.testing.assert_array_equal(read_stored(header), phantom.stored[:, :, 1].T)


@pytest.mark.parametrize(("stated", "written"), [(IMPLICIT, EXPLICIT), (EXPLICIT, IMPLICIT)])
def test_a_file_that_lies_about_its_encoding_gives_its_true_pixels(
    tmp_path: Path, stated: str, written: str
) -> None:
    """Taking the syntax by its word shifts the pixels by two and calls the rest excess."""
    phantom = tiny_ct(tmp_path, transfer_syntax=written)
    told, true = phantom.paths[0], phantom.paths[1]
    honest = tiny_ct(tmp_path / "honest", transfer_syntax=stated).paths[1].read_bytes()
    content = true.read_bytes()
    told.write_bytes(honest[: meta_end(honest)] + content[meta_end(content) :])
    np.testing.assert_array_equal(read_stored(header_of(told)), phantom.stored[:, :, 1].T)


def test_a_meta_group_of_any_length_and_without_its_length_is_read(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, transfer_syntax=DEFLATED)
    dataset = pydicom.dcmread(phantom.paths[1])
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.3")
    dataset.file_meta.PrivateInformation = bytes(5000)
    dataset.save_as(phantom.paths[1])
    np.testing.assert_array_equal(read_stored(header_of(phantom.paths[1])), phantom.stored[:, :, 1].T)
    content = phantom.paths[1].read_bytes()
    phantom.paths[1].write_bytes(content[:132] + content[144:])
    np.testing.assert_array_equal(read_stored(header_of(phantom.paths[1])), phantom.stored[:, :, 1].T)


# ------------------------------------------------------------------------------- no image
def test_what_lies_in_an_export_beside_images_is_named(tmp_path: Path) -> None:
    write_junk(tmp_path)
    found = {path.name: read_header(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name: one.code for name, one in found.items() if isinstance(one, Finding)} == {
        "AUTORUN.INF": "not_dicom",
        "Thumbs.db": "not_dicom",
        ".DS_Store": "not_dicom",
        "IM0000": "empty_file",
        "REPORT.PDF": "not_dicom",
        "IM9999.dcm": "not_dicom",
    }
    assert found["DICOMDIR"] == OtherObject(tmp_path / "DICOMDIR", "DICOMDIR")


@pytest.mark.parametrize("content", [b"\0", b"\0" * 7, b"\0" * 500, b"\x08\0" * 300, b"\2\0" * 80])
def test_bytes_that_mean_nothing_are_not_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert code_of(tmp_path / "file") == "not_dicom"


@pytest.mark.parametrize(
    ("class_uid", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT dose"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "structured report"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated PDF"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "ECG"),
    ],
)
def test_an_object_that_is_no_image_is_named_by_its_kind(tmp_path: Path, class_uid: str, kind: str) -> None:
    path = tiny_ct(tmp_path).paths[0]
    change(path, SOPClassUID=class_uid, Modality="ECG", Rows=None)
    assert read_header(path) == OtherObject(path, kind)


def test_labels_say_what_they_refer_to(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    structures = read_header(tiny_rtstruct(tmp_path / "rs.dcm", image))
    segments = read_header(tiny_seg(tmp_path / "seg.dcm", image))
    assert isinstance(structures, Annotation)
    assert isinstance(segments, Annotation)
    for label in (structures, segments):
        assert label.referenced_series_uids == (image.series_uid,)
        assert label.identity.study_uid == image.who.study_uid
    assert structures.referenced_instance_uids == frozenset(image.sop_uids)
    assert segments.referenced_instance_uids <= frozenset(image.sop_uids)
    assert structures.region_names == (("GTV",),)
    assert segments.region_names == (("GTV", "1"),)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ImagePositionPatient": None}, "no_position"),
        ({"ImageOrientationPatient": None}, "no_position"),
        ({"ImagePositionPatient": [1, 2]}, "no_position"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"NumberOfFrames": 2}, "multi_frame"),
        ({"NumberOfFrames": -2}, "multi_frame"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "multi_frame"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MOSAIC"]}, "mosaic"),
        ({"Rows": None}, "bad_header"),
        ({"BitsAllocated": None}, "bad_header"),
        ({"SeriesInstanceUID": ""}, "bad_uid"),
        ({"SeriesInstanceUID": None}, "bad_uid"),
        ({"SOPInstanceUID": "../../etc"}, "bad_uid"),
        ({"SeriesInstanceUID": "1." * 40 + "1"}, "bad_uid"),
        ({"SeriesInstanceUID": ["1.2", "1.3"]}, "bad_uid"),
        ({"SeriesInstanceUID": "1..2"}, "bad_uid"),
        ({"SeriesInstanceUID": "1.\u00b2"}, "bad_uid"),
        ({"SOPClassUID": None}, "unreadable_file"),
    ],
    ids=str,
)
def test_what_makes_a_file_no_slice_is_named(tmp_path: Path, changes: dict[str, object], code: str) -> None:
    path = tiny_ct(tmp_path).paths[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what we ask it to write
        change(path, **changes)
    assert code_of(path) == code


@pytest.mark.parametrize(
    ("tag", "rubbish"),
    [
        (b"\x20\x00\x32\x00DS", b"one\\2\\3 "),
        (b"\x28\x00\x30\x00DS", b"1.0\\x "),
        (b"\x28\x00\x53\x10DS", b"two "),
        (b"\x20\x00\x13\x00IS", b"1.5 "),
    ],
)
def test_a_value_that_is_no_number_is_a_finding(tmp_path: Path, tag: bytes, rubbish: bytes) -> None:
    path = tiny_ct(tmp_path).paths[0]
    content = path.read_bytes()
    at = content.index(tag)
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(
        content[: at + 6] + len(rubbish).to_bytes(2, "little") + rubbish + content[at + 8 + length :]
    )
    assert code_of(path) == "bad_header"


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_a_header_that_is_cut_anywhere_is_no_image_and_never_another_one(
    tmp_path: Path, syntax: str
) -> None:
    path = tiny_pet(tmp_path, transfer_syntax=syntax).paths[0]
    content = path.read_bytes()
    for end in range(1, len(content) - 84 - 12):
        path.write_bytes(content[:end])
        found = read_header(path)
        if isinstance(found, Header):  # all but the pixels is there, or what comes last before them
            assert found.pixels is None
        else:
            assert isinstance(found, Finding)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read a file that nobody may read")
def test_a_file_that_may_not_be_read_is_a_finding(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path).paths[0]
    path.chmod(0)
    assert code_of(path) == "unreadable_file"


def test_a_file_that_is_gone_is_a_finding(tmp_path: Path) -> None:
    assert code_of(tmp_path / "gone") == "unreadable_file"


# ------------------------------------------------------------------------------- bombs
@pytest.mark.parametrize("depth", [50, 400, 5000])
def test_sequences_nested_without_end_never_break_the_reader(tmp_path: Path, depth: int) -> None:
    path = tiny_ct(tmp_path).paths[0]
    content = path.read_bytes()
    opened = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    at = content.index(b"\x10\0\x10\0PN")
    path.write_bytes(content[:at] + opened * depth + closed * depth + content[at:])
    found = read_header(path)
    assert isinstance(found, Header) if depth == 50 else code_of(path) == "nested_too_deep"


def deflated_zeros(megabytes: int) -> bytes:
    """Return a stream of zeros, made of one piece over and over."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    squeeze.compress(b"")
    piece = squeeze.compress(bytes(16 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return piece * (megabytes // 16) + squeeze.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_small_file_that_would_inflate_to_a_gigabyte_is_refused_in_no_time(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path, transfer_syntax=DEFLATED).paths[0]
    content = path.read_bytes()
    path.write_bytes(content[: meta_end(content)] + deflated_zeros(1184))
    assert path.stat().st_size < 2 << 20
    code = (
        "import re, sys, time; from pathlib import Path\n"
        "from lepton_monai.dicom.frames import read_header\n"
        "start = time.monotonic(); print(read_header(Path(sys.argv[1])).code)\n"
        # Not ru_maxrss: a child inherits that of the process that started it.
        "status = Path('/proc/self/status').read_text()\n"
        "print(time.monotonic() - start, int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)\n"
    )
    words = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found, seconds, megabytes = done.stdout.split()
    assert found == "inflate_limit"
    assert float(seconds) < 2
    assert int(megabytes) < 300


def test_a_deflated_file_below_the_limit_is_read(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, transfer_syntax=DEFLATED)
    content = phantom.paths[0].read_bytes()
    end = meta_end(content)
    body = zlib.decompress(content[end:], -zlib.MAX_WBITS)
    trailing = b"\xfc\xff\xfc\xffOB\0\0" + (1 << 24).to_bytes(4, "little") + bytes(1 << 24)
    assert len(body + trailing) < INFLATE_LIMIT_BYTES
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    phantom.paths[0].write_bytes(content[:end] + squeeze.compress(body + trailing) + squeeze.flush())
    np.testing.assert_array_equal(read_stored(header_of(phantom.paths[0])), phantom.stored[:, :, 0].T)


def test_a_damaged_or_cut_stream_of_a_deflated_file_is_a_finding(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path, transfer_syntax=DEFLATED).paths[0]
    content = path.read_bytes()
    end = meta_end(content)
    path.write_bytes(content[:end] + b"\xff" * 100)
    assert code_of(path) == "unreadable_file"
    for kept in range(1, 300, 13):
        path.write_bytes(content[: end + kept])
        found = read_header(path)
        assert (
            not isinstance(found, Header)
            or found.pixels is None
            or (found.pixels.available < (found.pixels.length or 0))
        )


def test_a_length_of_terabytes_allocates_nothing(tmp_path: Path) -> None:
    path = tiny_ct(tmp_path).paths[0]
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00091001, "OB", b"\1\2")
    block = Dataset()
    block.private_block(0x0009, "TEST", create=True)
    dataset.update(block)
    dataset.save_as(path)
    content = path.read_bytes()
    at = content.index(b"\x09\0\x01\x10OB") + 8
    path.write_bytes(content[:at] + b"\xf0\xff\xff\xff" + content[at + 4 :])
    assert code_of(path) in {"bad_header", "unreadable_file", "bad_uid"}
