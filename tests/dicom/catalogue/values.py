"""What stored values mean: rescale, tables, padding, bits, colour."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tests.dicom.catalogue.builders import SHAPE, Change, every, only, stack
from tests.dicom.catalogue.truth import CatalogueSeries, TrueVolume, Truth, refused, series, used
from tests.phantoms import unique_values

OVERLAY = 0xC000
"""Bits above the high bit of twelve or fourteen."""


def _noted(notes: str, change: Change, kind: str, folder: Path) -> Truth:
    return used(stack(folder, change, kind=kind), notes=notes)


def _rescaled(notes: str, slopes: list[float], intercepts: list[float], folder: Path) -> Truth:
    return used(stack(folder, rescale_slope=slopes, rescale_intercept=intercepts), notes=notes)


def _without_rescale(folder: Path) -> Truth:
    return used(stack(folder, rescale_slope=None, rescale_intercept=None, unit="1"))


def _refused(code: str, change: Change, folder: Path) -> Truth:
    stack(folder, change)
    return refused(code)


def _passed_over(code: str, change: Change, folder: Path) -> Truth:
    stack(folder, change)
    return used(passed_over=" ".join([code] * SHAPE[2]))


def _of_type(dtype: type, bits: int, lowest: int, folder: Path) -> Truth:
    return used(stack(folder, stored=unique_values(SHAPE, dtype, lowest), bits_stored=bits))


def _full_range(dtype: type, folder: Path) -> Truth:
    """Values up to both ends of the type: where signs and words may be mistaken."""
    ends = np.iinfo(dtype)
    numbers = np.linspace(ends.min, ends.max, int(np.prod(SHAPE))).reshape(SHAPE)
    return used(stack(folder, stored=np.rint(numbers).astype(dtype), rescale_slope=1.0))


# ------------------------------------------------------------------------------- tables
def _table(count: int, first: int, values: NDArray[np.integer[Any]]) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [count, first, 16])
    item.ModalityLUTType = "HU"
    item.add_new(0x00283006, "OW", values.astype("<u2").tobytes())
    return item


def _modality_lut(folder: Path) -> Truth:
    count = int(np.prod(SHAPE))
    entries = (np.arange(count) ** 2 % 4001).astype(np.int64)
    change = every(ModalityLUTSequence=[_table(count, 0, entries)], RescaleType=None)
    stored = unique_values(SHAPE, np.uint16)
    volume = stack(folder, change, stored=stored, rescale_slope=None)
    looked_up = entries[stored].astype(np.float64)
    return used(TrueVolume(looked_up, volume.origins, volume.steps), notes="modality_lut")


def _real_world_map() -> Change:
    item = Dataset()
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 4095
    item.RealWorldValueIntercept, item.RealWorldValueSlope = 7.0, 0.125
    item.LUTLabel, item.LUTExplanation = "OTHER", ""
    return every(RealWorldValueMappingSequence=[item])


# ------------------------------------------------------------------------------- padding, bits
def _padded(value: int, limit: int | None, folder: Path) -> Truth:
    def change(_k: int, dataset: Dataset) -> None:
        dataset.add_new(0x00280120, "SS", value)
        if limit is not None:
            dataset.add_new(0x00280121, "SS", limit)

    stored = unique_values(SHAPE)
    low, high = sorted([value, value if limit is None else limit])
    volume = stack(folder, change, stored=stored)
    volume.values[(stored >= low) & (stored <= high)] = np.nan
    return used(volume, notes="pixel_padding")


def _with_overlay(bits: int, dtype: type, folder: Path) -> Truth:
    """Twelve bits of values under an overlay in the bits above."""
    lowest = -100 if np.issubdtype(dtype, np.signedinteger) else 0

    def change(k: int, dataset: Dataset) -> None:
        words = np.frombuffer(dataset.PixelData, "<u2") & ((1 << bits) - 1)
        dataset.PixelData = (words | np.where(np.arange(len(words)) % 3 == k % 3, OVERLAY, 0)).astype(
            "<u2"
        ).tobytes()  # fmt: skip

    stored = unique_values(SHAPE, dtype, lowest)
    return used(stack(folder, change, stored=stored, bits_stored=bits), notes="high_bits_masked")


def _signed_and_unsigned(folder: Path) -> Truth:
    """The unsigned slice runs to 40000, the signed ones below zero."""
    stored = unique_values(SHAPE, np.int32, -90)
    stored[:, :, 2] += 40000
    words = stored.astype(np.int64) % 65536

    def change(k: int, dataset: Dataset) -> None:
        dataset.PixelData = words[:, :, k].T.astype("<u2").tobytes()
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0 if k == 2 else 1

    return used(stack(folder, change, stored=stored), notes="mixed_pixel_format")


def _mixed_bits(folder: Path) -> Truth:
    change = only(3, BitsStored=12, HighBit=11)
    return used(stack(folder, change, stored=unique_values(SHAPE, np.uint16)), notes="mixed_pixel_format")


# ------------------------------------------------------------------------------- colour
def _colour(photometric: str) -> Change:
    def change(_k: int, dataset: Dataset) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, photometric
        dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        dataset.PixelData = bytes(3 * dataset.Rows * dataset.Columns)

    return change


def _manufacturer(name: str, folder: Path) -> Truth:
    return used(
        stack(folder, every(Manufacturer=name), kind="MR", rescale_slope=1.5, rescale_intercept=3.0)
    )


VALUES: tuple[CatalogueSeries, ...] = (
    series(
        "a rescale for every slice",
        "rescale_varies",
        _rescaled,
        "rescale_varies",
        [2.0, 0.5, 1.0, 0.125, 3.0],
        [-1024.0, 0.0, 8.0, -5.0, 1.5],
    ),
    series(
        "an intercept that differs",
        "rescale_varies",
        _rescaled,
        "rescale_varies",
        [1.0] * 5,
        [-1024.0, -1024.0, -1000.0, -1024.0, -1024.0],
    ),
    series("a CT without rescale", "plain", _without_rescale),
    series(
        "rescale absent in one slice",
        "rescale_incomplete",
        _refused,
        "rescale_incomplete",
        only(2, RescaleSlope=None, RescaleIntercept=None),
    ),
    series(
        "a slope without an intercept",
        "rescale_incomplete",
        _refused,
        "rescale_incomplete",
        every(RescaleIntercept=None),
    ),
    *(
        series(f"a slope of {slope}", "bad_rescale", _refused, "bad_rescale", only(2, RescaleSlope=slope))
        for slope in ("0", "1e999", "-1e999")
    ),
    series("one slice in another unit", "bad_rescale", _refused, "bad_rescale", only(2, RescaleType="OD")),
    series("a Modality LUT", "modality_lut", _modality_lut),
    series(
        "a Modality LUT in one slice",
        "rescale_incomplete",
        _refused,
        "rescale_incomplete",
        only(2, ModalityLUTSequence=[_table(4, 0, np.arange(4))]),
    ),
    series(
        "a real-world map beside the rescale",
        "real_world_map_present",
        _noted,
        "real_world_map_present",
        _real_world_map(),
        "CT",
    ),
    series(
        "MONOCHROME1",
        "monochrome1",
        _noted,
        "monochrome1",
        every(PhotometricInterpretation="MONOCHROME1"),
        "CT",
    ),
    *(
        series(f"{photometric} colour", "colour", _passed_over, "colour", _colour(photometric))
        for photometric in ("RGB", "YBR_FULL")
    ),
    series(
        "palette colour", "colour", _passed_over, "colour", every(PhotometricInterpretation="PALETTE COLOR")
    ),
    series("a padding value", "pixel_padding", _padded, 17, None),
    series("a range of padding", "pixel_padding", _padded, 3, 20),
    series("a range of padding, its ends swapped", "pixel_padding", _padded, 20, 3),
    series("an overlay in the high bits", "high_bits_masked", _with_overlay, 12, np.uint16),
    series("an overlay above signed values", "high_bits_masked", _with_overlay, 12, np.int16),
    series("signed and unsigned slices", "mixed_pixel_format", _signed_and_unsigned),
    series("twelve and sixteen bits stored", "mixed_pixel_format", _mixed_bits),
    series("eight bits", "plain", _of_type, np.uint8, 8, 0),
    series("twelve signed bits", "plain", _of_type, np.int16, 12, -100),
    series("thirty-two bits", "plain", _of_type, np.int32, 32, -100_000),
    series("the whole range of int16", "plain", _full_range, np.int16),
    series("the whole range of uint16", "plain", _full_range, np.uint16),
    *(
        series(f"an MR by {name}", "plain", _manufacturer, name)
        for name in ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems", "UIH")
    ),
)
