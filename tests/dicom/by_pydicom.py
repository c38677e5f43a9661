"""pydicom's opinion of a file: the oracle of the walker and of the volumes that come of it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from lepton_monai.dicom.elements import KEPT, KINDS, MACROS, TAGS, Elements, numbers, swapped
from lepton_monai.dicom.file import ParsedFile
from lepton_monai.dicom.tags import NATIVE
from tests.dicom.catalogue.truth import TrueVolume

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
"""pydicom's own odd files; what its look-up function would fetch from the network isn't there."""

TEXTS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UN"}
BINARY = {"US": {"US", "SS", "UN"}, "UL": {"UL", "UN"}, "FD": {"FD", "UN"}, "FL": {"FL", "UN"}}

_KEPT_TAGS = {swapped(TAGS[keyword]) for keyword in KEPT}
_MACRO_TAGS = {swapped(TAGS[keyword]) for keyword in MACROS}


@contextmanager
def without_a_word() -> Iterator[None]:
    """Let pydicom read what is odd."""
    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode


def disagreements(parsed: ParsedFile, path: Path) -> list[str] | None:
    """Return the kept tags whose values aren't what pydicom has; None: pydicom can't read the file."""
    with without_a_word():
        try:
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            if "SOPClassUID" not in dataset and "DirectoryRecordSequence" not in dataset:
                return None
            return sorted(set(_on_all_levels(parsed, dataset)))
        except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files: no opinion
            return None


def _on_one_level(elements: Elements, dataset: Dataset, *, little: bool = True) -> list[str]:
    """Return the kept tags of one level whose value isn't what pydicom has, bytes for bytes."""
    return [
        keyword
        for keyword in KEPT
        if not _agrees(TAGS[keyword], elements.get(TAGS[keyword]), dataset, little=little)
    ]


def _agrees(tag: int, ours: bytes | None, dataset: Dataset, *, little: bool) -> bool:
    if ours == b"ISO_IR 192":
        return True  # what is decoded is kept in UTF-8, whatever it was in the file
    raw: Any = dataset.get_item(swapped(tag)) if swapped(tag) in dataset else None
    if raw is None or raw.value in (None, b"", ""):
        return not ours  # what is empty says no more than what isn't there
    kind = KINDS[tag]
    stated = getattr(raw, "VR", None) or kind
    if ours is None:
        # pydicom keeps what is left of the value at which a file was cut.
        return bool(raw.length > len(raw.value))
    if (
        isinstance(raw.value, bytes)
        and stated in {None, *BINARY.get(kind, TEXTS)}
        and (little or kind not in BINARY)
    ):
        as_text = ours.decode("utf-8", "replace").encode("latin-1", "replace")
        if raw.value.rstrip(b" \0") in {ours.rstrip(b" \0"), as_text.rstrip(b" \0")}:
            return True
    return _same_meaning(tag, ours, dataset)


def _same_meaning(tag: int, ours: bytes, dataset: Dataset) -> bool:
    """Compare what stands in another form than the standard's by its meaning."""
    with without_a_word():
        value: Any = dataset[swapped(tag)].value
    values: list[Any] = [] if value in (None, "") else [value] if np.isscalar(value) else list(value)
    if "\\".join(str(one) for one in values).strip(" \0") == ours.decode("utf-8", "replace").strip(" \0"):
        return True
    try:
        return list(numbers(tag, ours)) == [float(one) for one in values]
    except ValueError:
        return KINDS[tag] in {*BINARY, "DS", "IS"}  # no number: refused as soon as it is wanted


def _on_all_levels(parsed: ParsedFile, dataset: Dataset) -> Iterator[str]:
    """Yield the disagreements of a data set, of its first isotope and of its frames."""
    isotopes = dataset.get("RadiopharmaceuticalInformationSequence") or []
    together = Dataset()
    together.update(dataset)
    for isotope in isotopes[:1]:
        together.update({tag: raw for tag, raw in isotope.items() if tag in _KEPT_TAGS})
    little = dataset.original_encoding[1] is not False
    yield from _on_one_level(parsed.elements, together, little=little)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    for frame, one in zip(
        parsed.frames, dataset.get("PerFrameFunctionalGroupsSequence") or [], strict=False
    ):
        merged = Dataset()
        for group in (*shared, one):
            _lay_over(merged, group)
        yield from _on_one_level(frame, merged)


def _lay_over(merged: Dataset, group: Dataset) -> None:
    """Take the kept values of a functional group and of the first item of every macro in it."""
    for tag in tuple(group.keys()):
        if tag in _KEPT_TAGS:
            merged[tag] = group.get_item(tag)
        elif tag in _MACRO_TAGS:
            for item in group[tag].value[:1]:
                _lay_over(merged, item)


def slices_of_file(path: Path) -> list[TrueVolume]:
    """Return the slices of a file in values after their rescale; none: pydicom has no opinion.

    Where it can't decode the pixels, the values are NaN.
    """
    with without_a_word():
        try:
            dataset = pydicom.dcmread(path, force=True)
            if dataset.get("HighBit", dataset.BitsStored - 1) != dataset.BitsStored - 1:
                return []  # pydicom takes no notice of it
            stored = _stored(dataset)
            return [_slice_of(dataset, stored[number], number) for number in range(len(stored))]
        except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files: no opinion
            return []


def _stored(dataset: Dataset) -> NDArray[Any]:
    frames = int(dataset.get("NumberOfFrames") or 1)
    try:
        return np.asarray(dataset.pixel_array).reshape(frames, dataset.Rows, dataset.Columns)
    except Exception:  # pydicom's decoders raise anything; of native pixels it is raised again
        if dataset.file_meta.TransferSyntaxUID in NATIVE:
            raise
        return np.full((frames, dataset.Rows, dataset.Columns), np.nan)


def _slice_of(dataset: Dataset, stored: NDArray[Any], frame: int) -> TrueVolume:
    groups = [*(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]]
    groups += [*(dataset.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]]
    place = Dataset()
    place.update(dataset)
    place.file_meta = dataset.file_meta
    for group in groups:
        _lay_over(place, group)
    values = np.asarray(apply_modality_lut(stored, place), dtype=np.float64)
    if "PixelPaddingValue" in dataset:
        limit = dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)
        low, high = sorted([dataset.PixelPaddingValue, limit])
        values[(stored >= low) & (stored <= high)] = np.nan
    row, column = np.split(np.array(place.ImageOrientationPatient, dtype=np.float64), 2)
    spacing = [float(one) for one in place.PixelSpacing]
    origins = np.array([place.ImagePositionPatient], dtype=np.float64)
    steps = np.column_stack([row * spacing[1], column * spacing[0]])
    return TrueVolume(values.T[:, :, None], origins, steps)
