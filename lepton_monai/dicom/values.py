"""From stored values to physical ones: rescale, SUV, padding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.volume import Unit
from lepton_monai.dicom.dataset import foreign_file, read_whole
from lepton_monai.dicom.header import Header, PixelLayout
from lepton_monai.dicom.pet import suv_factor

PET_UNITS: dict[str, Unit] = {"BQML": "Bq/ml", "CNTS": "1"}
SUV_UNITS: dict[str, Unit] = {
    "": "SUVbw",  # absent: body weight, PS3.3 C.8.9.1
    "BW": "SUVbw",
    "LBM": "SUVlbm",
    "BSA": "SUVbsa",
}


@dataclass(frozen=True)
class Scale:
    """What every slice is multiplied with after its own rescale, and the unit that results."""

    factor: float
    unit: Unit
    findings: tuple[Finding, ...]


def rescale_refusal(headers: Sequence[Header]) -> Finding | None:
    """Say why the rescale of a series can't be used; None: it can."""
    # Slices that share one mapping are judged once.
    distinct = list(
        {(id(header.values), header.modality, _suv_type(header)): header for header in headers}.values()
    )
    if _refusal(distinct) is None:
        return None
    return _refusal(headers)


def _refusal(headers: Sequence[Header]) -> Finding | None:
    pairs = [(header.values.slope, header.values.intercept) for header in headers]
    for header, pair in zip(headers, pairs, strict=True):
        bad = [value for value in pair if value is not None and not math.isfinite(value)]
        if bad or pair[0] == 0:
            message = f"Rescale slope {pair[0]} and intercept {pair[1]} can't be used."
            return Finding("bad_rescale", message, path=header.path)
        if (pair[0] is None) != (pair[1] is None):
            message = f"Of slope and intercept one alone is given: {pair[0]} and {pair[1]}."
            return Finding("rescale_incomplete", message, path=header.path)
    ways = [_way(header) for header in headers]
    if len(set(ways)) > 1:
        counts = ", ".join(f"{ways.count(way)} have {way}" for way in sorted(set(ways)))
        message = f"Of {len(ways)} slices {counts}."
        return Finding("rescale_incomplete", message, path=headers[ways.index(max(ways))].path)
    units = sorted({_stated_unit(header) for header in headers})
    if len(units) > 1:
        message = f"The slices hold values in {len(units)} units: {units[0]}, {units[1]}."
        return Finding("bad_rescale", message)
    return None


def _suv_type(header: Header) -> str:
    return header.pet.suv_type if header.pet else ""


def _way(header: Header) -> str:
    if header.values.has_modality_lut:
        return "a table"
    return "no rescale" if header.values.slope is None else "a slope and an intercept"


def _stated_unit(header: Header) -> str:
    """Name the unit behind the rescale as the header of one slice has it."""
    values = header.values
    if header.modality == "PT" and header.pet is not None:
        return f"{values.units[:16]} {header.pet.suv_type[:16]}".strip() or "unknown"
    # Without a rescale the numbers of a CT are stored values, not HU.
    kind = values.rescale_type.upper()
    in_hu = _way(header) != "no rescale" and (
        kind == "HU" or (header.modality == "CT" and kind in {"", "US"})
    )
    return "HU" if in_hu else "1"


def scale_of(headers: Sequence[Header]) -> Scale:
    """Return the unit of a series and the factor that leads to it (SUV for PET in Bq/ml)."""
    first = headers[0]
    if first.modality != "PT" or first.pet is None:
        return Scale(1.0, "HU" if _stated_unit(first) == "HU" else "1", ())
    units = first.values.units
    if units == "GML":
        unit = SUV_UNITS.get(first.pet.suv_type)
        if unit is None:
            message = f"SUVType {first.pet.suv_type[:16]} is not one that we know."
            return Scale(1.0, "1", (Finding("suv_unit_unsupported", message),))
        message = f"The values are {unit} already."
        return Scale(1.0, unit, (Finding("suv_given", message),))
    factors = {header.pet.philips_factor for header in headers if header.pet}
    if units == "CNTS" and first.pet.philips_factor and len(factors) == 1:
        message = f"SUVbw from the vendor's own factor, {first.pet.philips_factor:g} a count."
        found = Finding("suv_computed", message)
        return Scale(first.pet.philips_factor, "SUVbw", (found,))
    if units != "BQML":
        message = f"Values in {units[:16] or 'an unnamed unit'} can't be turned into SUV."
        return Scale(1.0, PET_UNITS.get(units, "1"), (Finding("suv_unit_unsupported", message),))
    factor, findings = suv_factor([header.pet for header in headers if header.pet])
    return Scale(factor or 1.0, "SUVbw" if factor else "Bq/ml", findings)


def exact_type(headers: Sequence[Header], factor: float) -> np.dtype[Any]:
    """Return the narrowest type that holds every value exactly; float32 where no integer does."""
    low, high = 0, 0
    for header in {id(one.values) ^ id(one.layout): one for one in headers}.values():
        slope, intercept = _line(header)
        whole = slope.is_integer() and intercept.is_integer() and factor == 1
        if header.values.has_modality_lut or not whole:
            return np.dtype(np.float32)
        ends = [int(slope) * one + int(intercept) for one in _stored_range(header.layout)]
        low, high = min(low, *ends), max(high, *ends)
    for kind in (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def write_physical(header: Header, stored: NDArray[Any], factor: float, plane: NDArray[Any]) -> None:
    """Apply the Modality LUT or the rescale of one slice, then the factor of its series.

    Parameters
    ----------
    header, stored
        Of the slice ``(rows, columns)``; `stored` may lie in the memory of `plane`.
    factor
        Of the series.
    plane
        Where the values go: an integer type that :func:`exact_type` has chosen, or a floating one.

    Raises
    ------
    SeriesRefused
        `not_finite`.
    """
    slope, intercept = _line(header)
    if plane.dtype.kind != "f":
        if not np.shares_memory(plane, stored):
            plane[...] = stored
        # The result fits; on the way there a number may wrap around, and back again.
        if slope != 1:
            np.multiply(plane, _wrapped(int(slope), plane.dtype), out=plane)
        if intercept:
            np.add(plane, _wrapped(int(intercept), plane.dtype), out=plane)
        return
    if header.values.has_modality_lut:
        plane[...] = _looked_up(header, stored) * factor
        _require_finite(header, plane)
        return
    if slope == 1 and factor == 1 and intercept.is_integer() and _is_exact(header.layout, intercept, plane):
        plane[...] = stored  # apart: a sum of two types goes through a buffer and takes twice as long
        if intercept:
            np.add(plane, plane.dtype.type(intercept), out=plane)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.multiply(stored, slope, dtype=np.float64)
        if intercept:
            values += intercept
        if factor != 1:
            values *= factor
        plane[...] = values
    _require_finite(header, plane)


def _require_finite(header: Header, plane: NDArray[Any]) -> None:
    if not np.isfinite(plane).all():
        message = "Values aren't finite after the rescale."
        raise SeriesRefused(Finding("not_finite", message, header.identity.series_uid, header.path))


def _is_exact(layout: PixelLayout, intercept: float, plane: NDArray[Any]) -> bool:
    """Tell whether the floating type holds every stored value, and each with the intercept, as it is."""
    most = 2.0 ** (np.finfo(plane.dtype).nmant + 1)
    return max(map(abs, _stored_range(layout))) + abs(intercept) <= most


@lru_cache(maxsize=8)
def _wrapped(number: int, kind: np.dtype[Any]) -> Any:
    return np.array(number % (1 << 8 * kind.itemsize), f"u{kind.itemsize}").view(kind)[()]


def _line(header: Header) -> tuple[float, float]:
    slope, intercept = header.values.slope, header.values.intercept
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _stored_range(layout: PixelLayout) -> tuple[int, int]:
    if layout.signed:
        return -(1 << layout.bits_stored - 1), (1 << layout.bits_stored - 1) - 1
    return 0, (1 << layout.bits_stored) - 1


def padding_of(header: Header, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Mark the voxels that hold padding, not a measurement: PS3.3 C.7.5.1.1.2; None: no padding."""
    value, limit = header.values.padding_value, header.values.padding_limit
    if value is None:
        return None
    low, high = sorted(_as_stored(one, header.layout) for one in (value, value if limit is None else limit))
    inside: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return inside if inside.any() else None


def _as_stored(value: int, layout: PixelLayout) -> int:
    """Give a number of VR US or SS the sign of the pixels: many writers mistake one for the other."""
    numbers = 1 << layout.bits_allocated
    wrapped = value % numbers
    return wrapped - numbers if layout.signed and wrapped >= numbers // 2 else wrapped


def _looked_up(header: Header, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Apply the Modality LUT: PS3.3 C.11.1."""
    try:
        with foreign_file():
            item = read_whole(header.path).ModalityLUTSequence[0]
            count, first, bits = (int(value) for value in item.LUTDescriptor)
            table = _table(item.LUTData, count or 65536, bits)
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The Modality LUT can't be read ({type(error).__name__})."
        finding = Finding("bad_rescale", message, header.identity.series_uid, header.path)
        raise SeriesRefused(finding) from error
    index = np.clip(stored.astype(np.int64) - _as_stored(first, header.layout), 0, len(table) - 1)
    return np.asarray(table[index], dtype=np.float64)


def _table(data: Any, count: int, bits: int) -> NDArray[np.float64]:
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if bits > 8 or len(data) >= 2 * count else "u1")
    table = np.asarray(data, dtype=np.float64)[:count]
    if len(table) < count:
        message = f"{len(table)} of {count} entries"
        raise ValueError(message)
    return table
