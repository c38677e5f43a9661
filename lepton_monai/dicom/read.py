"""From an ordered series to a volume."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import counted
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.pixels import UNSIGNED, PixelReader, pixel_finding
from lepton_monai.dicom.series import Series
from lepton_monai.dicom.values import exact_type, padding_of, write_physical


def read_series(
    series: Series, dtype: DTypeLike | None = np.float32, slices: range | None = None
) -> Volume:
    """Read the pixels of a series in physical values.

    Parameters
    ----------
    series
        In order, as `scan` gives it.
    dtype
        Floating type of the array; None: the narrowest type that holds every value exactly, such as
        int16 for most CT, and float32 where slopes have fractions.
    slices
        Which slices along ``k`` to read, in steps of one; None: all. No other file is touched.

    Returns
    -------
    volume : Volume
        Computed in float64, or exactly in integers. Padding is invalid and set to the lowest valid
        value of what is read.

    Raises
    ------
    SeriesRefused
        Pixel data are cut, can't be decoded, or give values that aren't finite.
    """
    wanted = range(series.grid.shape[2]) if slices is None else slices
    headers = [series.slices()[k] for k in wanted] if series.gaps else [series.headers[k] for k in wanted]
    present = [header for header in headers if header is not None]
    kind = exact_type(present, series.factor) if dtype is None else np.dtype(dtype)
    _require_pixels(present)
    columns, rows, _ = series.grid.shape
    planes = np.empty((len(headers), rows, columns), dtype=kind)
    stack = _Stack(planes, series)
    with PixelReader() as reader:
        for at, header in enumerate(headers):
            stack.fill(at, header, reader)
    array = planes.transpose(2, 1, 0)
    grid = series.grid if slices is None else _part(series.grid, wanted)
    return Volume(array, grid, series.unit, stack.valid(), (*series.findings, *stack.findings()))


def _require_pixels(headers: list[Header]) -> None:
    """Refuse before anything is allocated: a header can claim any size."""
    finding = pixel_finding(headers[0]) if headers else None
    if finding and finding.severity == "refused":
        raise SeriesRefused(finding)


def _part(grid: Grid, slices: range) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += slices.start * affine[:3, 2]
    return Grid((grid.shape[0], grid.shape[1], len(slices)), affine)


@dataclass
class _Stack:
    """The slices of a volume while they are read, and what is noted on the way."""

    planes: NDArray[Any]  # (k, rows, columns)
    series: Series
    invalid: NDArray[np.bool_] | None = None
    masked: int = 0
    padded: int = 0
    scratch: dict[np.dtype[Any], NDArray[Any]] = field(default_factory=dict)

    def fill(self, at: int, header: Header | None, reader: PixelReader) -> None:
        """Read one slice into its place; a gap is invalid."""
        plane = self.planes[at]
        if header is None:
            self._invalid()[at] = True
            plane[...] = 0
            return
        stored, has_other_bits = reader.read(header, self._room(plane, header))
        self.masked += has_other_bits
        padding = padding_of(header, stored)
        if padding is not None:
            self._invalid()[at] = padding
            self.padded += int(padding.sum())
        write_physical(header, stored, self.series.factor, plane)

    def valid(self) -> NDArray[np.bool_] | None:
        """Return what was measured ``(i, j, k)``, and give padding the lowest value of that."""
        if self.invalid is None:
            return None
        valid = ~self.invalid
        if not valid.any():
            message = "Every voxel is padding."
            raise SeriesRefused(Finding("constant_image", message, self.series.uid))
        self.planes[self.invalid] = self.planes[valid].min()
        return valid.transpose(2, 1, 0)

    def findings(self) -> list[Finding]:
        """Say what was noted."""
        findings: list[Finding] = []
        if self.masked:
            message = (
                f"{counted(self.masked, 'slice')} with something in the bits that BitsStored leaves out."
            )
            findings.append(Finding("high_bits_masked", message, self.series.uid))
        if self.padded:
            message = f"{counted(self.padded, 'voxel')} of padding: invalid, and set to the lowest value."
            findings.append(Finding("pixel_padding", message, self.series.uid))
        return findings

    def _invalid(self) -> NDArray[np.bool_]:
        if self.invalid is None:
            self.invalid = np.zeros(self.planes.shape, dtype=np.bool_)
        return self.invalid

    def _room(self, plane: NDArray[Any], header: Header) -> NDArray[Any]:
        """Return where the bytes of a slice may go: its own place, if one value takes as much there."""
        kind = UNSIGNED[header.layout.bits_allocated // 8]
        if plane.dtype.kind in "iu" and plane.dtype.itemsize == kind.itemsize:
            return plane.view(kind)
        if kind not in self.scratch:
            self.scratch[kind] = np.empty(plane.shape, kind)
        return self.scratch[kind]
