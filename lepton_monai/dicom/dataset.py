"""Foreign data sets by pydicom: label objects as a whole, and headers that our walker leaves to it."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom import config as pydicom_config
from pydicom import filereader

from lepton_monai.dicom.container import Container, within
from lepton_monai.dicom.tags import DEFLATED, EXPLICIT_LITTLE

_STOP_TAGS = frozenset(
    {
        0x7FE00008,  # Float Pixel Data
        0x7FE00009,  # Double Float Pixel Data
        0x7FE00010,  # Pixel Data
        0x30060039,  # ROI Contour Sequence: the bulk of an RTSTRUCT
        0x52009230,  # Per-Frame Functional Groups Sequence: the bulk of a SEG
    }
)


@contextmanager
def foreign_file() -> Iterator[None]:
    """Let pydicom read odd values without warnings: what is odd becomes a finding of ours."""
    mode = pydicom_config.settings.reading_validation_mode
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom_config.settings.reading_validation_mode = mode


def read_head(path: Path) -> Any:
    """Read a data set up to its bulk; the caller is a border of its own.

    Raises
    ------
    Exception
        Whatever a foreign file makes pydicom raise.
    """
    return within(path, lambda container: parsed_dataset(container)[0])


def read_whole(path: Path) -> Any:
    """Read a whole data set, bulk included; the caller is a border of its own.

    Raises
    ------
    Exception
        Whatever a foreign file makes pydicom raise.
    """
    return within(path, _whole)


def _whole(container: Container) -> Any:
    stream = io.BytesIO(container.read(container.size - container.start, container.start))
    dataset = filereader.read_dataset(stream, container.implicit, container.little)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    syntax = container.transfer_syntax_uid
    # What was deflated is inflated by now.
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(EXPLICIT_LITTLE if syntax == DEFLATED else syntax)
    return dataset


def value_of(dataset: Any, keyword: str) -> Any:
    """Return the value of an attribute; None: it isn't there, or pydicom can't make one of it."""
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001 - the border: parsed only now, it may raise anything
        return None


def parsed_dataset(container: Container) -> tuple[Any, tuple[bool, bool], int]:
    """Parse a data set up to its bulk; return it, its encoding (implicit, little) and where it ended.

    Raises
    ------
    Exception
        Whatever a foreign file makes pydicom raise.
    """
    stream = io.BytesIO(container.read(container.size - container.start, container.start))
    implicit, little = container.implicit, container.little
    dataset = filereader.read_dataset(stream, implicit, little, stop_when=_at_bulk)
    found = dataset.original_encoding
    encoding = (implicit if found[0] is None else found[0], little if found[1] is None else found[1])
    return dataset, encoding, container.start + stream.tell()


def bulk_position(
    container: Container, encoding: tuple[bool, bool], at: int
) -> tuple[int, int | None, int, str] | None:
    """Read tag and length of the pixel data that parsing stopped at: PS3.5 section 7.1.

    Returns
    -------
    offset, length, available, vr
        None where it is no pixel data.
    """
    implicit, little = encoding
    order: Literal["big", "little"] = "little" if little else "big"
    head = container.read(12, at)
    if len(head) < 8:
        return None
    group, number = (int.from_bytes(head[where : where + 2], order) for where in (0, 2))
    if (group, number) != (0x7FE0, 0x0010):
        return None
    stated = int.from_bytes(head[4:8] if implicit else head[8:12], order)
    offset = at + (8 if implicit else 12)
    vr = "" if implicit else head[4:6].decode("ascii", "replace")
    return offset, None if stated == 0xFFFFFFFF else stated, max(container.size - offset, 0), vr


def _at_bulk(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) in _STOP_TAGS
