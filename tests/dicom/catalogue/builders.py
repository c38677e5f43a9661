"""Stacks of slices whose places, tags and pixels are changed one by one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sample_data.dicom_files import decimals
from tests.dicom.catalogue.truth import Frames, TrueVolume
from tests.phantoms import Phantom, oblique_affine, orientations, tiny_ct, tiny_mr, tiny_pet, unique_values

Change = Callable[[int, Dataset], None]
"""What is done to the data set of slice ``k`` before it is written."""

SHAPE = (7, 6, 5)
SERIES_UID = "1.2.9"
SPACING_MM = np.array([0.9, 1.3, 2.7])
ORIGIN_MM = np.array([-31.5, 12.25, 7.75])
RAMP = np.array([3.0, 5.0, 7.0])

WRITERS: dict[str, Callable[..., Phantom]] = {"CT": tiny_ct, "MR": tiny_mr, "PT": tiny_pet}
UNITS = {"CT": "HU", "MR": "1", "PT": "SUVbw"}


def signed_affine(directions: NDArray[np.float64]) -> Frames:
    """Make an affine of a signed permutation of the axes."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * SPACING_MM, ORIGIN_MM
    return affine


def sheared(affine: Frames, degrees: float, axis: int = 1) -> Frames:
    """Turn the third column towards another one: a gantry that is tilted."""
    tilted = affine.copy()
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    tilted[:3, 2] += np.tan(np.radians(degrees)) * lengths[2] * affine[:3, axis] / lengths[axis]
    return tilted


def _left_handed() -> Frames:
    affine = oblique_affine()
    affine[:3, 2] *= -1
    return affine


VIEWS: dict[str, Frames] = {
    "axial": signed_affine(np.eye(3)),
    "sagittal": signed_affine(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])),
    "oblique": oblique_affine(),
    "oblique, left-handed": _left_handed(),
}

SIGNED: list[Frames] = [signed_affine(directions) for directions in orientations()]


def stack(folder: Path, *changes: Change, kind: str = "CT", number: int = 0, **options: Any) -> TrueVolume:
    """Write a stack and return its truth.

    Parameters
    ----------
    folder
        Where the files go.
    changes
        One after the other, to every slice.
    kind
        CT, MR or PT.
    number
        Of the part, where several share one series: its instances and values differ from the others'.
    options
        ``shape``, ``stored``, ``affine_lps``, ``places`` (of each slice, in steps of the third column),
        ``origins``, ``unit``; else fields of SeriesOptions or of the phantom.
    """
    stored = _stored(kind, number, options)
    affine = options.setdefault("affine_lps", oblique_affine())
    places = np.asarray(options.pop("places", np.arange(stored.shape[2])), dtype=np.float64)
    origins = np.asarray(options.pop("origins", affine[:3, 3] + places[:, None] * affine[:3, 2]))
    unit = options.pop("unit", UNITS[kind])
    names = [f"{number}-{k:04d}" for k in range(stored.shape[2])]

    def per_slice(k: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{number}.{k + 1}"
        dataset.ImagePositionPatient = decimals(origins[k])
        for one in changes:
            one(k, dataset)

    written = {"series_uid": SERIES_UID, "file_names": names, "per_slice": per_slice} | options
    phantom = WRITERS[kind](folder, stored=stored, **written)
    return TrueVolume(phantom.values, origins, affine[:3, :2], unit)


def _stored(kind: str, number: int, options: dict[str, Any]) -> NDArray[Any]:
    shape = options.pop("shape", SHAPE)
    stored: NDArray[Any] | None = options.pop("stored", None)
    dtype = np.int16 if kind == "CT" else np.uint16
    return unique_values(shape, dtype, lowest=1000 * number) if stored is None else stored


def every(**values: object) -> Change:
    """Set tags of every slice; None removes one."""

    def change(_k: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)

    return change


def only(k: int, **values: object) -> Change:
    """Set tags of slice ``k`` alone; None removes one."""
    change = every(**values)
    return lambda at, dataset: change(at, dataset) if at == k else None


def each(keyword: str, values: Sequence[object]) -> Change:
    """Give every slice its own value of one tag."""
    return lambda k, dataset: setattr(dataset, keyword, values[k])


def without(folder: Path, volume: TrueVolume, *gone: int, number: int = 0) -> TrueVolume:
    """Delete the files of some slices; in the truth that a repair must give nothing is measured there."""
    values = volume.values.copy()
    for k in gone:
        (folder / f"{number}-{k:04d}").unlink()
        values[:, :, k] = np.nan
    return TrueVolume(values, volume.origins, volume.steps, volume.unit)


def kept(volume: TrueVolume, *slices: int) -> TrueVolume:
    """Return the truth of some slices alone."""
    at = list(slices)
    return TrueVolume(volume.values[:, :, at], volume.origins[at], volume.steps, volume.unit)


def ramp(places: Sequence[float], shape: tuple[int, int] = SHAPE[:2]) -> NDArray[np.int16]:
    """Return stored values that are linear in the index, so linear in space on any lattice."""
    i, j = np.indices(shape)
    planes = [100 + RAMP[0] * i + RAMP[1] * j + RAMP[2] * place for place in places]
    stored: NDArray[np.int16] = np.stack(planes, axis=-1).astype(np.int16)
    return stored


def linear(affine: Frames, slope: float = 2.0, intercept: float = -1024.0) -> tuple[float, ...]:
    """Return the coefficients of x, y, z and 1 of :func:`ramp` after slope and intercept."""
    slopes = RAMP @ np.linalg.inv(affine[:3, :3])
    constant = 100 - slopes @ affine[:3, 3]
    return (*(slope * slopes).tolist(), float(slope * constant + intercept))
