"""From a case to what a classifier is fed with: the whole image, or each of its slices, at one size."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.cases.case import Case, image_digest, load_image, load_mask
from lepton_monai.cases.classes import Level
from lepton_monai.core.errors import FileRefused, InputError, LabelError, SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.volume import Volume
from lepton_monai.images.pictures import read_picture
from lepton_monai.labels.labelset import LabelSet
from lepton_monai.labels.tables import Target
from lepton_monai.plans.classification import InputPlan, ScalePlan

VALUES_A_CASE = 10_000
"""Drawn from each case for the percentiles."""

Array = NDArray[np.float32]

NO_VALUES: Array = np.empty(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image as it was read.

    Parameters
    ----------
    array
        float32 ``(x, y, z)``: z are slices, or the colours of a picture.
    spacing_mm
        Along x, y and z; a pixel of a picture counts as 1.
    unit
        Of the values.
    present
        Whether each slice holds the segment that is asked for; empty where nothing asks.
    digest
        SHA-256 of the values: equal for an image that was exported twice, whatever its ids.
    """

    array: Array
    spacing_mm: tuple[float, float, float]
    unit: str
    present: NDArray[np.bool_]
    digest: str

    def slice_targets(self) -> list[Target]:
        """Return what `present` says of each slice: shares of the classes absent and present."""
        return list(np.eye(2, dtype=np.float32)[self.present.astype(int)])


@dataclass(frozen=True, eq=False)
class Sample:
    """One thing that is classified.

    Parameters
    ----------
    case, patient
        Pseudonyms.
    slice_number
        Along k from 0; None: the whole image.
    from_end_mm
        How far a slice lies from the nearer end of its series; 0 for a whole image.
    target
        Share of each class, NaN where unknown; None: nothing is known.
    array
        float16 ``(x, y, z)``, or ``(x, y, channel)`` of a flat one, on the scale of the network.
    study
        Pseudonym; empty: of a file that belongs to none.
    values
        Clinical values, encoded; empty where the network wants none.
    """

    case: str
    patient: str
    slice_number: int | None
    from_end_mm: float
    target: Target | None
    array: NDArray[np.float16]
    study: str = ""
    values: Array = field(default_factory=lambda: NO_VALUES)

    def marks(self) -> tuple[str, ...]:
        """Return what stands for target and values: a resumed training wants the same."""
        target = "unknown" if self.target is None else str(self.target.tolist())
        values = (hashlib.sha256(self.values.tobytes()).hexdigest(),) if self.values.size else ()
        return target, *values


def read_source(case: Case, level: Level, segments: LabelSet | None = None) -> SourceImage | Finding:
    """Read the image of a case, and where its segment lies; or say why it is left out.

    Parameters
    ----------
    case
        With a label where a segment is asked for.
    level
        What is classified.
    segments
        That may lie in a slice; None: nothing is asked for.
    """
    if level == "image":
        return _read_picture(case)
    present: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
    try:
        volume = load_image(case)
        if segments is not None and case.label is not None:
            mask = load_mask(case, volume, segments)
            present = np.asarray(mask.array.any(axis=(0, 1)))
    except (SeriesRefused, FileRefused) as refusal:
        return refusal.finding
    except LabelError as error:
        return Finding("label_unreadable", str(error))
    except InputError as error:
        return Finding("label_off_grid", str(error))
    if float(np.ptp(volume.array)) == 0.0:
        return Finding("constant_image", f"All voxels are {float(volume.array.flat[0]):g}.")
    return source_of(volume, level, present)


def source_of(volume: Volume, level: Level, present: NDArray[np.bool_]) -> SourceImage:
    """Return a volume with its axes towards R, A and S; for slices as they were acquired."""
    array, spacing = volume.array, volume.grid.spacing_mm
    if level != "slice":
        axes, signs = volume.grid.nearest_ras()
        array = array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
        spacing = (spacing[axes[0]], spacing[axes[1]], spacing[axes[2]])
    array = np.ascontiguousarray(array, dtype=np.float32)
    return SourceImage(array, spacing, volume.unit, present, image_digest(volume))


def _read_picture(case: Case) -> SourceImage | Finding:
    if not isinstance(case.image, Path):
        message = "a case of a picture holds its path"
        raise TypeError(message)
    try:
        array = read_picture(case.image)
    except InputError as error:
        return Finding("unreadable_picture", str(error))
    digest = hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()
    return SourceImage(array, (1.0, 1.0, 1.0), "1", np.empty(0, dtype=np.bool_), digest)


def samples_of(
    case: Case,
    source: SourceImage,
    plan: InputPlan,
    level: Level,
    target: Target | None,
    values: Array = NO_VALUES,
) -> list[Sample]:
    """Bring an image to the network's size and scale: one sample, or one a slice.

    Parameters
    ----------
    case, source
        Whose image, and the image.
    plan
        Size, spacing, channels, scale.
    level
        At `slice` the class of each sample follows from the segment, where that was read.
    target
        Of the whole image; None: nothing is known.
    values
        Clinical values of the case, encoded.
    """
    array = scaled(source.array, plan.scale)
    if level != "slice":
        fed = _fed(array, source, plan)
        return [Sample(case.pseudonym, case.patient, None, 0.0, target, fed, case.study, values)]
    count = array.shape[2]
    targets = source.slice_targets() if len(source.present) else [None] * count
    return [
        Sample(
            case.pseudonym,
            case.patient,
            k,
            min(k, count - 1 - k) * source.spacing_mm[2],
            targets[k],
            _fed(array[:, :, k : k + 1], source, plan),
            case.study,
            values,
        )
        for k in range(count)
    ]


def scaled(array: Array, plan: ScalePlan) -> Array:
    """Bring values to 0 to 1: see `ScalePlan`; mean and deviation come last, in `_fed`."""
    values = array
    if plan.transform == "log":
        values = np.log1p(np.maximum(values, 0.0))
    elif plan.transform == "zscore":
        deviation = float(values.std()) or 1.0
        values = (values - np.float32(values.mean())) / np.float32(deviation)
    unit = (values - np.float32(plan.low)) / np.float32(plan.high - plan.low)
    return np.asarray(np.clip(unit, 0.0, 1.0))


def _fed(values: Array, source: SourceImage, plan: InputPlan) -> NDArray[np.float16]:
    if plan.is_flat and values.shape[2] != plan.channels:
        grey = values.mean(axis=2, keepdims=True)
        values = np.repeat(grey, plan.channels, axis=2)
    fitted = fit(values, source.spacing_mm, plan)
    mean, deviation = (np.asarray(one, dtype=np.float32) for one in (plan.scale.mean, plan.scale.deviation))
    return ((fitted - mean) / deviation).astype(np.float16)


def fit(array: Array, spacing_mm: Sequence[float], plan: InputPlan) -> Array:
    """Resample about the middle: blurred first where it is made coarser, the border going on outside.

    Along z only where the network sees three axes.
    """
    axes = plan.axes
    shape = np.array([*plan.size[:axes], *array.shape[axes:]])
    source = np.array(array.shape)
    step = np.ones(3)
    step[:axes] = step_of(array.shape, spacing_mm, plan)
    # Half a new voxel, as skimage.transform.resize does: what is finer than that would fold over.
    blur = np.maximum((step - 1.0) / 2.0, 0.0)
    smooth = ndimage.gaussian_filter(array, blur, mode="nearest") if blur.any() else array
    offset = (source - 1) / 2 - (shape - 1) / 2 * step
    return np.asarray(
        ndimage.affine_transform(
            smooth, step, offset, output_shape=tuple(shape.tolist()), order=1, mode="nearest"
        ),
        dtype=np.float32,
    )


def step_of(shape: Sequence[int], spacing_mm: Sequence[float], plan: InputPlan) -> NDArray[np.float64]:
    """Return how many source voxels one step of the network's input is, along the axes that it sees."""
    axes = plan.axes
    if plan.spacing_mm is None:
        return np.divide(shape[:axes], plan.size[:axes], dtype=np.float64)
    return np.divide(plan.spacing_mm[:axes], spacing_mm[:axes], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class SourceMeasurement:
    """One source image, measured: small, so that the images of all cases are never held at once."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    values: NDArray[np.float64]
    unit: str
    positives: int


def measure_source(source: SourceImage) -> SourceMeasurement:
    """Measure an image; values are drawn from everywhere, the same each time."""
    flat = source.array.ravel()
    drawn = flat[np.random.default_rng(0).integers(flat.size, size=min(VALUES_A_CASE, flat.size))]
    x, y, z = source.array.shape
    return SourceMeasurement(
        (x, y, z), source.spacing_mm, drawn.astype(np.float64), source.unit, int(source.present.sum())
    )
