"""What the tests of this room share: files that are changed after writing, and slices without files."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import Series, read_series, scan
from lepton_monai.dicom.file import PixelElement
from lepton_monai.dicom.header import Acquisition, Header, PixelLayout, Placement, ValueMapping
from lepton_monai.dicom.identity import Identity
from lepton_monai.dicom.tags import EXPLICIT_LITTLE

ROWS, COLUMNS = 37, 53


def change(path: Path, **values: object) -> None:
    """Set attributes of a file; None removes one."""
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    dataset.save_as(path)


def the_series(folder: Path) -> Series:
    """Return the one series of a folder in which nothing is refused or passed over."""
    index = scan([folder])
    assert (index.refused, index.findings, len(index.series)) == ((), (), 1)
    return index.series[0]


def the_volume(folder: Path) -> Volume:
    return read_series(the_series(folder))


def the_refusal(folder: Path) -> str:
    """Return the code for which the one series of a folder makes no volume, at all."""
    index = scan([folder])
    assert index.series == ()
    assert len(index.refused) == 1
    finding = index.refused[0].finding
    assert finding.message[-1] in ".)"
    return finding.code


def codes(noted: Series | Volume) -> list[str]:
    return [finding.code for finding in noted.findings]


def slices_of(
    positions: ArrayLike,
    in_plane: NDArray[np.float64],
    *,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> list[Header]:
    """Make the headers of slices that have no file.

    `positions` is ``(n, 3)``; the columns of `in_plane` ``(3, 2)`` are the steps along i and j, mm.
    """
    spacing = np.linalg.norm(in_plane, axis=0)
    placement = Placement(
        rows=rows,
        columns=columns,
        position=(0.0, 0.0, 0.0),
        orientation=tuple(float(one) for one in (in_plane / spacing).T.ravel()),
        row_spacing_mm=float(spacing[1]),
        column_spacing_mm=float(spacing[0]),
        slice_thickness_mm=None,
        spacing_between_slices_mm=None,
    )
    return [_header(at, replace(placement, position=tuple(place))) for at, place in _numbered(positions)]


def with_placement(header: Header, **changes: Any) -> Header:
    """Change where a slice says that it lies."""
    return replace(header, placement=replace(header.placement, **changes))


def turned(angles_deg: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix(), dtype=np.float64)


def stack_of(
    count: int, angles_deg: Sequence[float], spacing_mm: Sequence[float], gap_mm: float, shear: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions ``(n, 3)`` and in-plane steps ``(3, 2)``; `shear` is a shift along j a mm."""
    axes = turned(angles_deg)
    step = (axes[:, 2] + shear * axes[:, 1]) * gap_mm
    positions = np.array([-117.5, 40.25, 310.75]) + np.arange(count)[:, None] * step
    return positions, axes[:, :2] * np.asarray(spacing_mm)


def error_mm(grid: Grid, ordered: Sequence[Header]) -> float:
    """Return how far a slice's own corner (PS3.3 equation C.7.6.2.1-1) lies from the grid's."""
    distances = [0.0]
    for k, header in enumerate(ordered):
        place = header.placement
        row, column = np.split(np.array(place.orientation), 2)
        for i, j in product((0, place.columns - 1), (0, place.rows - 1)):
            own = (
                np.array(place.position)
                + row * place.column_spacing_mm * i
                + column * place.row_spacing_mm * j
            )
            distances.append(float(np.linalg.norm(own - grid.to_world([i, j, k]))))
    return max(distances)


def _numbered(positions: ArrayLike) -> list[tuple[int, Sequence[float]]]:
    return list(enumerate(np.asarray(positions, dtype=np.float64).tolist()))


def _header(number: int, placement: Placement) -> Header:
    size = 2 * placement.rows * placement.columns
    return Header(
        file=f"{number}",
        frame=0,
        tile=None,
        modality="CT",
        description="",
        identity=Identity("P", "", "1.1", "1.2", f"1.2.{number + 1}", "1.2.840.10008.5.1.4.1.1.2", "1.3"),
        instance_number=number,
        slice_location_mm=None,
        placement=placement,
        layout=PixelLayout(
            transfer_syntax_uid=EXPLICIT_LITTLE,
            rows=placement.rows,
            columns=placement.columns,
            samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2",
            bits_allocated=16,
            bits_stored=16,
            high_bit=15,
            signed=True,
            frames=1,
        ),
        pixels=PixelElement(0, size, size, "OW"),
        values=ValueMapping(1.0, 0.0, "HU", "", False, False, None, None),
        acquisition=_acquisition(),
        pet=None,
        has_preamble=True,
    )


def _acquisition() -> Acquisition:
    nothing: dict[str, Any] = {"temporal_position": None, "trigger_time_ms": None, "slices_declared": None}
    return Acquisition(
        acquisition_number=1,
        image_type=("ORIGINAL",),
        energy_kv=None,
        echo=(None, None),
        b_value=(None, None),
        gradient=(),
        stack_id="",
        burned_in_annotation=False,
        **nothing,
    )
