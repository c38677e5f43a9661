"""Tiny series with a known answer: unique values, another size and spacing on every axis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from sample_data.dicom_files import (
    Identity,
    SeriesOptions,
    identity,
    series_uid_of,
    sop_uid_of,
    write_series,
)
from sample_data.label_files import write_rtstruct, write_seg

SHAPE = (7, 6, 5)

CT = SeriesOptions(modality="CT", description="TINY CT", rescale_slope=2.0, rescale_intercept=-1024.0)
MR = SeriesOptions(modality="MR", description="TINY MR")
PET = SeriesOptions(modality="PT", description="TINY PET")


@dataclass(frozen=True, eq=False)
class Phantom:
    """A series on disk and what is true about it.

    `values` ``(i, j, k)`` is float64 after slope and intercept, in the unit of the file; `paths`
    and `sop_uids` are in the order of ``k``.
    """

    paths: list[Path]
    values: NDArray[np.float64]
    stored: NDArray[np.integer[Any]]
    affine_lps: NDArray[np.float64]
    who: Identity
    series_uid: str
    sop_uids: list[str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        i, j, k = self.values.shape
        return i, j, k


@dataclass(frozen=True)
class Dose:
    """What a PET in Bq/ml says about the injection; times are ``HHMMSS`` of one day."""

    weight_kg: float = 71.5
    activity_bq: float = 3.7e8
    half_life_s: float = 6586.2
    injected: str = "091500"
    scanned: str = "101500"

    @property
    def suv_per_bq_ml(self) -> float:
        """Factor from Bq/ml to SUVbw: grams over the activity left when the scan starts."""
        elapsed_s = _seconds(self.scanned) - _seconds(self.injected)
        left_bq = self.activity_bq * 2.0 ** (-elapsed_s / self.half_life_s)
        return float(self.weight_kg * 1000.0 / left_bq)


def _seconds(time: str) -> int:
    return int(time[:2]) * 3600 + int(time[2:4]) * 60 + int(time[4:6])


def oblique_affine(
    spacing_mm: Sequence[float] = (0.9, 1.3, 2.7),
    angles_deg: Sequence[float] = (11.0, -17.0, 23.0),
    origin_mm: Sequence[float] = (-31.5, 12.25, 7.75),
) -> NDArray[np.float64]:
    """Voxel index to LPS, mm: turned about x, y and z by these angles, right-handed."""
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = turned * np.asarray(spacing_mm)
    affine[:3, 3] = origin_mm
    return affine


def orientations() -> list[NDArray[np.float64]]:
    """Return the 48 signed permutations of the axes, columns are the directions of i, j, k.

    All can be written as a series: DICOM knows the directions of i and j, the positions say k.
    """
    unit = np.eye(3)
    return [
        unit[:, list(order)] * np.array(signs)
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]


def unique_values(
    shape: tuple[int, int, int] = SHAPE, dtype: Any = np.int16, lowest: int = 0
) -> NDArray[np.integer[Any]]:
    """Return each of the numbers from `lowest` on once, in an order that follows no axis."""
    numbers = np.random.default_rng(1).permutation(int(np.prod(shape))) + lowest
    stored: NDArray[np.integer[Any]] = numbers.reshape(shape).astype(dtype)
    return stored


def tiny_ct(
    folder: Path,
    shape: tuple[int, int, int] = SHAPE,
    *,
    stored: NDArray[np.integer[Any]] | None = None,
    affine_lps: NDArray[np.float64] | None = None,
    who: Identity | None = None,
    **changes: Any,
) -> Phantom:
    """Write a CT of slope 2 and intercept -1024; `changes` are fields of SeriesOptions."""
    values = unique_values(shape) if stored is None else stored
    return _phantom(folder, values, affine_lps, who, replace(CT, **changes))


def tiny_mr(
    folder: Path,
    shape: tuple[int, int, int] = SHAPE,
    *,
    stored: NDArray[np.integer[Any]] | None = None,
    affine_lps: NDArray[np.float64] | None = None,
    who: Identity | None = None,
    **changes: Any,
) -> Phantom:
    """Write an MR without slope and intercept; `changes` are fields of SeriesOptions."""
    values = unique_values(shape, np.uint16) if stored is None else stored
    return _phantom(folder, values, affine_lps, who, replace(MR, **changes))


def tiny_pet(
    folder: Path,
    shape: tuple[int, int, int] = SHAPE,
    *,
    dose: Dose | None = None,
    extra: Mapping[str, object] | None = None,
    stored: NDArray[np.integer[Any]] | None = None,
    affine_lps: NDArray[np.float64] | None = None,
    who: Identity | None = None,
    **changes: Any,
) -> Phantom:
    """Write a PET whose slope differs in every slice: SUVbw (GML), or Bq/ml where `dose` is given.

    `extra` adds to the tags of the unit, so that one of them can be changed or (None) removed.
    """
    values = unique_values(shape, np.uint16) if stored is None else stored
    scale = 0.01 if dose is None else 25.0
    slopes = [scale * (1.0 + 0.125 * k) for k in range(values.shape[2])]
    tags = _suv_tags() if dose is None else _dose_tags(dose)
    options = replace(PET, rescale_slope=slopes, extra={**tags, **(extra or {})})
    return _phantom(folder, values, affine_lps, who, replace(options, **changes))


def _suv_tags() -> dict[str, object]:
    return {"Units": "GML", "SUVType": "BW"}


def _dose_tags(dose: Dose) -> dict[str, object]:
    """Tags of PS3.3 C.8.9.1 and C.8.9.2 from which SUV is computed."""
    day = "20240102"
    drug = Dataset()
    drug.Radiopharmaceutical = "FDG"
    drug.RadiopharmaceuticalStartTime = dose.injected
    drug.RadiopharmaceuticalStartDateTime = day + dose.injected
    drug.RadionuclideTotalDose = str(dose.activity_bq)
    drug.RadionuclideHalfLife = str(dose.half_life_s)
    drug.RadionuclidePositronFraction = "0.97"
    return {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"],
        "PatientWeight": str(dose.weight_kg),
        "SeriesDate": day,
        "SeriesTime": dose.scanned,
        "AcquisitionDate": day,
        "AcquisitionTime": dose.scanned,
        "RadiopharmaceuticalInformationSequence": [drug],
    }


def _phantom(
    folder: Path,
    stored: NDArray[np.integer[Any]],
    affine_lps: NDArray[np.float64] | None,
    who: Identity | None,
    options: SeriesOptions,
) -> Phantom:
    affine = oblique_affine() if affine_lps is None else np.asarray(affine_lps, dtype=np.float64)
    who = who or identity("tiny")
    paths = write_series(folder, stored, affine, who, options)
    series_uid = series_uid_of(who, options)
    sop_uids = [sop_uid_of(series_uid, k) for k in range(stored.shape[2])]
    slope = 1.0 if options.rescale_slope is None else np.asarray(options.rescale_slope)
    intercept = 0.0 if options.rescale_intercept is None else np.asarray(options.rescale_intercept)
    values = stored.astype(np.float64) * slope + intercept
    return Phantom(paths, values, stored, affine, who, series_uid, sop_uids)


def rough_mask(shape: tuple[int, int, int] = SHAPE, seed: int = 2) -> NDArray[np.bool_]:
    """Return a mask with holes, islands and voxels that touch by a corner; two slices are empty.

    The first and the last slice are the empty ones.
    """
    mask = np.random.default_rng(seed).random(shape) < 0.55
    mask[:, :, [0, -1]] = False
    return mask


def tiny_rtstruct(path: Path, image: Phantom, rois: Mapping[str, NDArray[np.bool_]] | None = None) -> Path:
    """Write masks (one rough one, `GTV`) on the slices of a phantom as RTSTRUCT."""
    rois = rois or {"GTV": rough_mask(image.shape)}
    uids = (image.series_uid, image.sop_uids)
    return write_rtstruct(path, rois, image.affine_lps, image.who, *uids)


def tiny_seg(path: Path, image: Phantom, rois: Mapping[str, NDArray[np.bool_]] | None = None) -> Path:
    """Write masks (one rough one, `GTV`) on the slices of a phantom as SEG."""
    rois = rois or {"GTV": rough_mask(image.shape)}
    return write_seg(path, rois, image.paths)


def on_slice(k: int, change: Callable[[Dataset], None]) -> Callable[[int, Dataset], None]:
    """Make a `per_slice` that changes slice ``k`` alone."""

    def per_slice(index: int, dataset: Dataset) -> None:
        if index == k:
            change(dataset)

    return per_slice
