"""Every transfer syntax, encoded by imagecodecs and pydicom, each with values that are known exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests.dicom.catalogue.builders import SHAPE, stack
from tests.dicom.catalogue.truth import CatalogueSeries, Truth, refused, series, used
from tests.phantoms import unique_values

Encode = Callable[[NDArray[np.integer[Any]]], bytes]

NEAR = 2
"""So much may a value differ in the stream that isn't lossless."""


def _written(syntax: str, dtype: type, bits: int, folder: Path) -> Truth:
    """Write in a syntax that the sample data's own writer knows."""
    stored = unique_values(SHAPE, dtype)
    return used(stack(folder, stored=stored, bits_stored=bits, transfer_syntax=syntax))


def _encoded(
    syntax: str, stored: NDArray[np.integer[Any]], bits: int, encode: Encode, fragments: int = 1
) -> Callable[[Path], Truth]:
    def compress(k: int, dataset: Dataset) -> None:
        stream = encode(np.ascontiguousarray(stored[:, :, k].T))
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([stream], fragments_per_frame=fragments)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    return lambda folder: used(stack(folder, compress, stored=stored, bits_stored=bits))


def _lossless(bits: int) -> Encode:
    return lambda rows: bytes(imagecodecs.ljpeg_encode(rows, bitspersample=bits))


def _jpeg_2000(rows: NDArray[np.integer[Any]]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(rows, codecformat="j2k", reversible=True, mct=False))


def _baseline(rows: NDArray[np.integer[Any]]) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(rows, level=100))


def _extended(rows: NDArray[np.integer[Any]]) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(rows, level=100, bitspersample=12))


def _blocks(dtype: type, step: int) -> NDArray[np.integer[Any]]:
    """Return blocks of eight by eight equal values: their cosine transform is a whole number."""
    values = unique_values((3, 2, 5), dtype) * dtype(step)
    blocks: NDArray[np.integer[Any]] = np.kron(values, np.ones((8, 8, 1), dtype))
    return blocks


def _near(folder: Path) -> Truth:
    stored = unique_values(SHAPE, np.uint16)
    truth = _encoded(
        "1.2.840.10008.1.2.4.81",
        stored,
        16,
        lambda rows: bytes(imagecodecs.jpegls_encode(rows, level=NEAR)),
    )(folder)
    # The slope is 2.
    return replace(truth, volumes=tuple(replace(one, tolerance=2.0 * NEAR) for one in truth.volumes))


def _unsupported(folder: Path) -> Truth:
    def change(_k: int, dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")
        dataset.PixelData = encapsulate([b"\0" * 64])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    stack(folder, change)
    return refused("unsupported_transfer_syntax")


def _cut_stream(folder: Path) -> Truth:
    def change(k: int, dataset: Dataset) -> None:
        if k == 3:
            stream = _jpeg_2000(np.arange(42, dtype=np.int16).reshape(6, 7))
            dataset.PixelData = encapsulate([stream[:-40]])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True

    stack(folder, change, transfer_syntax="1.2.840.10008.1.2.4.90")
    return refused("truncated_pixel_data")


def _ordinary() -> list[CatalogueSeries]:
    names = {
        "1.2.840.10008.1.2": "implicit",
        "1.2.840.10008.1.2.1": "explicit",
        "1.2.840.10008.1.2.2": "big endian",
        "1.2.840.10008.1.2.1.99": "deflated",
        "1.2.840.10008.1.2.5": "RLE",
        "1.2.840.10008.1.2.4.80": "JPEG-LS",
        "1.2.840.10008.1.2.4.90": "JPEG 2000",
    }
    kinds: list[tuple[str, type, int]] = [("16 bits, signed", np.int16, 16), ("12 bits", np.uint16, 12)]
    return [
        series(f"{name}, {kind}", "transfer syntax", _written, syntax, dtype, bits)
        for syntax, name in names.items()
        for kind, dtype, bits in [*kinds, ("8 bits", np.uint8, 8)]
    ]


def _streams() -> list[CatalogueSeries]:
    twelve = unique_values(SHAPE, np.uint16)
    entries: list[tuple[str, str, NDArray[np.integer[Any]], int, Encode]] = [
        ("JPEG baseline", "4.50", _blocks(np.uint8, 8), 8, _baseline),
        ("JPEG extended, 12 bits", "4.51", _blocks(np.uint16, 130), 12, _extended),
        ("JPEG lossless, process 14", "4.57", twelve, 12, _lossless(12)),
        ("JPEG lossless, 12 bits", "4.70", twelve, 12, _lossless(12)),
        ("JPEG lossless, 16 bits", "4.70", twelve * np.uint16(300), 16, _lossless(16)),
        ("JPEG 2000, the syntax with losses", "4.91", twelve, 16, _jpeg_2000),
        *(
            (
                f"HTJ2K, {name}",
                f"4.{number}",
                twelve,
                16,
                lambda rows: bytes(imagecodecs.htj2k_encode(rows)),
            )
            for name, number in (("lossless", 201), ("lossless RPCL", 202), ("either", 203))
        ),
    ]
    return [
        CatalogueSeries(name, "transfer syntax", _encoded(f"1.2.840.10008.1.2.{end}", stored, bits, encode))
        for name, end, stored, bits, encode in entries
    ]


SYNTAXES: tuple[CatalogueSeries, ...] = (
    *_ordinary(),
    *_streams(),
    series("JPEG-LS, near", "transfer syntax", _near),
    CatalogueSeries(
        "JPEG 2000 in three fragments",
        "transfer syntax",
        _encoded("1.2.840.10008.1.2.4.90", unique_values(SHAPE, np.int16), 16, _jpeg_2000, 3),
    ),
    series("a video's syntax", "unsupported_transfer_syntax", _unsupported),
    series("a compressed slice that is cut", "truncated_pixel_data", _cut_stream),
)
