"""Pictures from foreign files: upright, between 0 and 1, and never a traceback."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lepton_monai.core.errors import InputError
from lepton_monai.images.pictures import read_picture

ROWS = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4) * 10


def test_columns_come_first_and_white_is_one(tmp_path: Path) -> None:
    Image.fromarray(ROWS).save(tmp_path / "grey.png")
    picture = read_picture(tmp_path / "grey.png")
    assert picture.shape == (4, 6, 1)
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture[:, :, 0], ROWS.T / 255, rtol=1e-6)


def test_sixteen_bits_keep_their_steps(tmp_path: Path) -> None:
    values = (ROWS.astype(np.uint16) * 257) + 1
    Image.fromarray(values).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read_picture(tmp_path / "deep.png")[:, :, 0], values.T / 65535, rtol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_three_channels_without_transparency(tmp_path: Path, mode: str) -> None:
    colours = np.zeros((6, 4, 3), dtype=np.uint8)
    colours[1, 2] = (255, 0, 51)
    Image.fromarray(colours).convert(mode).save(tmp_path / "colour.png")
    picture = read_picture(tmp_path / "colour.png")
    assert picture.shape == (4, 6, 3)
    np.testing.assert_allclose(picture[2, 1], (1.0, 0.0, 0.2), atol=1e-6)


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    marked = np.zeros((16, 32), dtype=np.uint8)
    marked[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees to the right
    Image.fromarray(marked).save(tmp_path / "turned.jpeg", exif=exif, quality=95)
    picture = read_picture(tmp_path / "turned.jpeg")
    assert picture.shape == (16, 32, 1)
    assert picture[12, 4, 0] > 0.9  # top right now
    assert picture[4, 4, 0] < 0.1


def _claims(path: Path, side: int) -> None:
    """Write a PNG of a few bytes whose header claims a large side."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_a_header_that_claims_more_than_any_detector_has_is_refused_before_memory_is_taken(
    tmp_path: Path,
) -> None:
    _claims(tmp_path / "bomb.png", 100_000)
    with pytest.raises(InputError, match="claims more than 178956970 pixels"):
        read_picture(tmp_path / "bomb.png")


def test_every_cut_and_every_flipped_byte_is_read_or_refused(tmp_path: Path) -> None:
    count = 0
    for suffix in ("png", "jpeg"):
        whole = tmp_path / f"whole.{suffix}"
        Image.fromarray(np.random.default_rng(3).integers(0, 255, (9, 7), dtype=np.uint8)).save(whole)
        content = whole.read_bytes()
        for at in range(0, len(content), 7):
            flipped = bytearray(content)
            flipped[at] ^= 0xFF
            for hurt in (content[:at], bytes(flipped)):
                path = tmp_path / f"hurt.{suffix}"
                path.write_bytes(hurt)
                count += 1
                try:
                    assert np.isfinite(read_picture(path)).all()
                except InputError:
                    continue
    print(f"{count} damaged pictures, 0 tracebacks")
    assert count > 100


@pytest.mark.parametrize("content", [b"", b"no picture", b"GIF89a" + bytes(40)])
def test_what_is_no_png_or_jpeg_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.png").write_bytes(content)
    with pytest.raises(InputError, match="can't be read"):
        read_picture(tmp_path / "other.png")
