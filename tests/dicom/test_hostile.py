"""Whatever a file does, it ends in the right volume or a name, soon, and in little memory."""

import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import process_time

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.dicom import read_series, scan
from tests.dicom.catalogue.builders import every, stack
from tests.dicom.catalogue.enhanced import write_enhanced
from tests.dicom.mutated import EXPECTED, SEEDS, attack, peak_bytes

MORE_MEMORY = 256 << 20
"""What a hostile file may cost; three times its declared array comes on top, here some hundred bytes."""

LONGEST_S = 10.0
BOMB_MEMORY, BOMB_S = 300 << 20, 2.0


def _attack(folder: Path, count: int, timeout_s: float) -> None:
    """Attack in a process of its own: its memory is that of the attack, and it may hang or die."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(attack, folder, count, 7).result(timeout_s)
    total, outcomes = result.outcomes.total(), dict(result.outcomes)
    print(f"{total} mutated files of {len(SEEDS)} kinds: {outcomes}")
    print(f"the longest took {result.longest_s:.2f} s, all together {result.more_bytes >> 20} MB more")
    assert set(result.outcomes) == EXPECTED
    assert result.longest_s < LONGEST_S
    assert result.more_bytes < MORE_MEMORY


def test_2000_mutated_files_are_right_or_refused(tmp_path: Path) -> None:
    _attack(tmp_path, 2016, 300)


@pytest.mark.nightly
def test_100000_mutated_files_are_right_or_refused(tmp_path: Path) -> None:
    _attack(tmp_path, 100_008, 3600)


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(SEEDS))
def test_a_file_that_is_cut_anywhere_is_right_or_refused(tmp_path: Path, name: str) -> None:
    (path,) = SEEDS[name](tmp_path)
    content = path.read_bytes()
    whole = read_series(scan([path]).series[0]).array
    for length in range(len(content)):
        path.write_bytes(content[:length])
        for series in scan([path]).series:
            try:
                found = read_series(series).array
            except SeriesRefused:
                continue
            # What a compressed stream doesn't need may be lost: its delimiter, a byte of padding.
            assert length > len(content) - 10
            np.testing.assert_array_equal(found, whole)


# ------------------------------------------------------------------------------- bombs
def _with_stream(syntax: str, stream: bytes, **tags: object) -> Callable[[Path], object]:
    def change(_k: int, dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        every(**tags)(0, dataset)

    return lambda folder: stack(folder, change, shape=(7, 6, 1))


def _with_tags(**tags: object) -> Callable[[Path], object]:
    return lambda folder: stack(folder, every(**tags), shape=(7, 6, 1))


def _many_frames(count: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        volume = stack(folder / "unused", shape=(7, 6, 2))
        for path in (folder / "unused").iterdir():
            path.unlink()
        write_enhanced(folder / "all", [volume])
        content = (folder / "all").read_bytes()
        at = content.index(b"\x28\x00\x08\x00IS")
        (folder / "all").write_bytes(content[: at + 6] + _short_text(str(count)) + content[at + 10 :])

    return write


def _short_text(text: str) -> bytes:
    text += " " * (len(text) % 2)
    return struct.pack("<H", len(text)) + text.encode()


def _nested(folder: Path, depth: int, opened: bytes) -> None:
    stack(folder, shape=(7, 6, 1))
    (path,) = folder.iterdir()
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:at] + opened * depth + content[at:])


def _deflated(folder: Path, megabytes: int) -> None:
    stack(folder, shape=(7, 6, 1), transfer_syntax="1.2.840.10008.1.2.1.99")
    (path,) = folder.iterdir()
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 140)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = zlib.decompress(content[144 + length :], -zlib.MAX_WBITS)
    bomb = deflater.compress(body) + b"".join(deflater.compress(bytes(1 << 20)) for _ in range(megabytes))
    path.write_bytes(content[: 144 + length] + bomb + deflater.flush())


HUGE = {"Rows": 65535, "Columns": 65535}
LARGE = {"Rows": 8192, "Columns": 8192}
RLE, JPEG_LS, JPEG_2000, LOSSLESS = (f"1.2.840.10008.1.2.{end}" for end in ("5", "4.80", "4.90", "4.70"))
RUNS = struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0" * 2
"""Two segments of 128 zeros."""
ROWS = np.arange(42, dtype=np.uint16).reshape(6, 7)


def _claiming(stream: bytes, at: int, size: bytes) -> bytes:
    return stream[:at] + size + stream[at + len(size) :]


def _jpeg_2000_claim() -> bytes:
    stream = bytes(imagecodecs.jpeg2k_encode(ROWS, codecformat="j2k", reversible=True))
    return _claiming(stream, stream.index(b"\xff\x51") + 6, struct.pack(">2I", 8192, 8192))


def _jpeg_claim(stream: bytes, marker: bytes) -> bytes:
    return _claiming(stream, stream.index(marker) + 5, struct.pack(">2H", 8192, 8192))


BOMBS: dict[str, Callable[[Path], object]] = {
    "native, 4 gigapixels": _with_tags(**HUGE),
    "native, 4 gigapixels of 32 bits": _with_tags(**HUGE, BitsAllocated=32, BitsStored=32, HighBit=31),
    "RLE, 4 gigapixels": _with_stream(RLE, bytes(64), **HUGE),
    "RLE, 8192 x 8192 in a hundred bytes": _with_stream(RLE, RUNS, **LARGE),
    "JPEG 2000 that claims 8192 x 8192": _with_stream(JPEG_2000, _jpeg_2000_claim(), **LARGE),
    "JPEG-LS that claims 8192 x 8192": _with_stream(
        JPEG_LS, _jpeg_claim(bytes(imagecodecs.jpegls_encode(ROWS)), b"\xff\xf7"), **LARGE
    ),
    "JPEG lossless that claims 8192 x 8192": _with_stream(
        LOSSLESS, _jpeg_claim(bytes(imagecodecs.ljpeg_encode(ROWS, bitspersample=16)), b"\xff\xc3"), **LARGE
    ),
    "two thousand million frames": _many_frames(2_000_000_000),
    "a million frames": _many_frames(1_000_000),
    "2000 million frames without groups": _with_tags(NumberOfFrames=2_000_000_000),
    "deflated, 300 MB in 0.3": lambda folder: _deflated(folder, 300),
    "sequences of undefined length, 10000 deep": lambda folder: _nested(
        folder, 10_000, b"\x28\x00\x00\x90SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ),
    "items without end": lambda folder: _nested(folder, 10_000, b"\xfe\xff\x00\xe0\xff\xff\xff\xff"),
    "isotopes, 10000 deep": lambda folder: _nested(
        folder, 10_000, b"\x54\x00\x16\x00SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ),
    "an unknown value of 4 GB": lambda folder: _nested(
        folder, 1, b"\x29\x00\x10\x10UN\0\0\xfe\xff\xff\xff"
    ),
    "a text of 4 GB": lambda folder: _nested(folder, 1, b"\x29\x00\x10\x10UT\0\0\xfe\xff\xff\xff"),
}
"""Small files that claim much."""


def explode(folder: Path, name: str) -> tuple[bool, float, int]:
    """Write a bomb and read it; return whether it was refused, its seconds of CPU, its memory."""
    BOMBS[name](folder)
    before, start = peak_bytes(), process_time()
    index = scan([folder])
    is_refused = not index.series
    for series in index.series:
        try:
            read_series(series)
        except SeriesRefused:
            is_refused = True
    return is_refused, process_time() - start, peak_bytes() - before


def test_bombs_are_refused_at_once(tmp_path: Path) -> None:
    survived = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for name in BOMBS:
            is_refused, seconds, more_bytes = pool.submit(explode, tmp_path / name, name).result(60)
            if not is_refused or seconds > BOMB_S or more_bytes > BOMB_MEMORY:
                survived.append(f"{name}: {is_refused}, {seconds:.2f} s, {more_bytes >> 20} MB")
    print(f"{len(BOMBS)} bombs: {len(BOMBS) - len(survived)} refused within {BOMB_S:g} s")
    assert survived == []
