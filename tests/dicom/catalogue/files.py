"""Files that are damaged, odd or no slices at all, beside or inside a series."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from sample_data.dicom_files import identity, new_dataset, save
from tests.dicom.catalogue.builders import SHAPE, Change, every, kept, only, stack
from tests.dicom.catalogue.truth import CatalogueSeries, Truth, refused, series, used

Bytes = Callable[[bytes], bytes]

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"

INSTANCE, SERIES = b"\x08\x00\x18\x00", b"\x20\x00\x0e\x00"


def _rewritten(folder: Path, k: int, change: Bytes) -> None:
    path = folder / f"0-{k:04d}"
    path.write_bytes(change(path.read_bytes()))


def _damaged(code: str, change: Bytes, folder: Path) -> Truth:
    stack(folder)
    _rewritten(folder, 2, change)
    return refused(code)


def _lost(code: str, change: Bytes, folder: Path) -> Truth:
    """A file that can't be read leaves a gap in the series."""
    volume = stack(folder)
    _rewritten(folder, 2, change)
    values = volume.values.copy()
    values[:, :, 2] = np.nan
    truth = refused("missing_slice", "fill_gaps", gives=replace(volume, values=values))
    return replace(truth, passed_over=(code,))


def _lost_at_the_end(folder: Path) -> Truth:
    """Nobody can know that a slice is missing at the end; the file is named."""
    volume = stack(folder)
    _rewritten(folder, 4, lambda content: content[:200])
    return used(kept(volume, 0, 1, 2, 3), passed_over="unreadable_file")


def _noted(notes: str, change: Bytes, folder: Path) -> Truth:
    volume = stack(folder)
    for k in range(SHAPE[2]):
        _rewritten(folder, k, change)
    return used(volume, notes=notes)


def _header(notes: str, change: Change, folder: Path) -> Truth:
    return used(stack(folder, change), notes=notes)


def _without_preamble(content: bytes) -> bytes:
    """Leave out preamble, prefix and meta group: a bare data set."""
    (length,) = struct.unpack_from("<I", content, 140)
    return content[144 + length :]


def _nested(content: bytes) -> bytes:
    """Put ten thousand sequences of undefined length before the pixels."""
    at = content.index(b"\xe0\x7f\x10\x00")
    opened = b"\x28\x00\x00\x90SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return content[:at] + opened * 10_000 + content[at:]


def _longer(more: int) -> Change:
    def change(_k: int, dataset: Dataset) -> None:
        dataset.PixelData += bytes(more)

    return change


def _shorter(content: bytes) -> bytes:
    """State two bytes fewer in the pixel element than are there."""
    at = content.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    (length,) = struct.unpack_from("<I", content, at)
    return content[:at] + struct.pack("<I", length - 2) + content[at + 4 :]


def _lying_syntax(folder: Path) -> Truth:
    """The meta group says implicit, the data set is explicit."""
    volume = stack(folder)
    for k in range(SHAPE[2]):
        _rewritten(
            folder, k, lambda content: content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
        )
    return used(volume)


def _without_pixels(folder: Path) -> Truth:
    stack(folder, only(2, PixelData=None))
    return refused("truncated_pixel_data")


def _beside(folder: Path) -> Truth:
    """What lies in an export beside images: none of it is a slice."""
    volume = stack(folder)
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "empty").write_bytes(b"")
    (folder / "notes.txt").write_text("a text")
    (folder / "._0-0001").write_bytes(bytes(200))
    report = new_dataset("1.2.840.10008.5.1.4.1.1.88.11", "1.2.77", EXPLICIT, identity("tiny"))
    every(Modality="SR", SeriesInstanceUID="1.2.78")(0, report)
    save(report, folder / "report")
    return used(volume, passed_over="unreadable_file empty_file not_dicom not_dicom")


def _bomb(folder: Path) -> Truth:
    """A deflated file of half a megabyte that would inflate to 400."""
    volume = stack(folder)
    head = (folder / "0-0000").read_bytes()
    (length,) = struct.unpack_from("<I", head, 140)
    body = head[144 + length :]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflater.compress(body) + b"".join(deflater.compress(bytes(1 << 20)) for _ in range(400))
    dataset = pydicom.dcmread(folder / "0-0000", stop_before_pixels=True)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(DEFLATED)
    dataset.save_as(folder / "bomb")
    bomb = (folder / "bomb").read_bytes()
    (meta_length,) = struct.unpack_from("<I", bomb, 140)
    (folder / "bomb").write_bytes(bomb[: 144 + meta_length] + deflated + deflater.flush())
    return used(volume, passed_over="inflate_limit")


def _bad_uid(tag: bytes, text: bytes, folder: Path) -> Truth:
    stack(folder)

    def change(content: bytes) -> bytes:
        at = content.index(tag + b"UI")
        (length,) = struct.unpack_from("<H", content, at + 6)
        return content[: at + 6] + struct.pack("<H", len(text)) + text + content[at + 8 + length :]

    _rewritten(folder, 2, change)
    return replace(refused("missing_slice"), passed_over=("bad_uid",))


def _patient_without_id(folder: Path) -> Truth:
    return used(stack(folder, every(PatientID=None)))


def _cut(at: int) -> Bytes:
    return lambda content: content[:at]


FILES: tuple[CatalogueSeries, ...] = (
    series("pixels cut by one byte", "truncated_pixel_data", _damaged, "truncated_pixel_data", _cut(-1)),
    series("pixels cut by half", "truncated_pixel_data", _damaged, "truncated_pixel_data", _cut(-42)),
    series(
        "pixels that say to be shorter", "truncated_pixel_data", _damaged, "truncated_pixel_data", _shorter
    ),
    series("a file without pixels", "truncated_pixel_data", _without_pixels),
    series("pixels with much behind them", "excess_pixel_data", _header, "excess_pixel_data", _longer(40)),
    series("one byte of padding", "plain", _header, "", _longer(0)),
    series("a header that is cut", "unreadable_file", _lost, "unreadable_file", _cut(200)),
    series("the last file cut", "unreadable_file", _lost_at_the_end),
    series("an empty file", "unreadable_file", _lost, "empty_file", _cut(0)),
    series("a file of zeros", "unreadable_file", _lost, "not_dicom", lambda content: bytes(len(content))),
    series("no preamble, no meta group", "no_preamble", _noted, "no_preamble", _without_preamble),
    series("no preamble", "no_preamble", _noted, "no_preamble", lambda content: content[132:]),
    series("a transfer syntax that lies", "plain", _lying_syntax),
    series("sequences nested ten thousand deep", "nested_too_deep", _lost, "nested_too_deep", _nested),
    series("a deflated bomb", "inflate_limit", _bomb),
    series(
        "burned-in annotation",
        "burned_in_annotation",
        _header,
        "burned_in_annotation",
        every(BurnedInAnnotation="YES"),
    ),
    series("a series UID that is a path", "bad_uid", _bad_uid, SERIES, b"../../../../etc/"),
    series("an instance UID that is a path", "bad_uid", _bad_uid, INSTANCE, b"1.2/../escape "),
    series("a series UID of 72 digits", "bad_uid", _bad_uid, SERIES, b"1." + b"2" * 70),
    series("no series UID", "bad_uid", _bad_uid, SERIES, b""),
    series("no patient id", "plain", _patient_without_id),
    series("other objects and rubbish beside it", "plain", _beside),
)
