"""A case: what one prediction is made for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lepton_monai.core.errors import FileRefused, InputError, LabelError, SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import Series, read_series
from lepton_monai.dicom.annotation import Annotation
from lepton_monai.images.nifti import read_nifti
from lepton_monai.labels.files import read_nifti_labels
from lepton_monai.labels.labelset import LabelSet, Mask, Regions, merge
from lepton_monai.labels.rtstruct import rasterise, read_structures
from lepton_monai.labels.seg import read_segments

Image = Series | Path
"""A DICOM series, or a NIfTI file."""

Label = Annotation | Path
"""An RTSTRUCT or SEG object, or a NIfTI file."""

MEETING_PLACES = 16
"""Along each axis of an image."""

LITTLE = 0.5
"""Of the first image: a further one that reaches less is told."""


@dataclass(frozen=True)
class Case:
    """An image of one person, with its label where it has one.

    Parameters
    ----------
    pseudonym
        Names the case wherever something is written.
    patient
        Pseudonym of the patient.
    patient_id
        As the source has it: kept in `key.json` alone.
    person
        What tells persons apart; equal for two ids that are one person.
    image
        Where the voxels are.
    label
        None where there is none.
    study
        Pseudonym of the study; empty: of a file that belongs to none.
    further
        Other images of the same place, as the config names them: the label is on the grid of `image`.
    """

    pseudonym: str
    patient: str
    patient_id: str
    person: str
    image: Image
    label: Label | None
    study: str = ""
    further: tuple[Image, ...] = ()


def origin_of(series: Series) -> dict[str, str]:
    """Return what `key.json`, and nothing else, says of a series: whose it is, and where to find it."""
    identity = series.identity
    return {
        "patient_id": identity.patient_id,
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
        "description": series.description,
        "part": series.part,
    }


def load_image(case: Case) -> Volume:
    """Read the image of a case.

    Raises
    ------
    InputError
        It can't be read; `SeriesRefused` carries the finding.
    """
    return _read(case.image)


def load_further(case: Case, volume: Volume) -> tuple[Volume, ...]:
    """Read the further images of a case, each on its own grid.

    Parameters
    ----------
    case
        Whose images.
    volume
        Its first image, which all others have to meet.

    Raises
    ------
    InputError
        One can't be read, or lies elsewhere; `SeriesRefused` carries the finding.
    """
    volumes = tuple(_read(one) for one in case.further)
    for one in volumes:
        if not meet(one.grid, volume.grid):
            message = "A further image lies wholly outside of the first."
            raise SeriesRefused(Finding("images_apart", message))
    return volumes


def _read(image: Image) -> Volume:
    if not isinstance(image, Path):
        return read_series(image)
    try:
        return read_nifti(image)
    except InputError as error:
        raise FileRefused(Finding("unreadable_file", str(error), path=image)) from error


def meet(one: Grid, other: Grid) -> bool:
    """Tell whether two images have a place in common: one of some thousand, spread evenly over each."""
    return max(share_held(one, other), share_held(other, one)) > 0


def share_held(one: Grid, other: Grid) -> float:
    """Return how much of another image one holds, 0 to 1: of some thousand places spread over the other."""
    steps = [np.linspace(0.0, extent - 1.0, MEETING_PLACES) for extent in other.shape]
    places = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    index = one.to_index(other.to_world(places))
    return float(((index >= -0.5) & (index <= np.array(one.shape) - 0.5)).all(axis=-1).mean())


def little_held(volumes: Sequence[Volume]) -> list[Finding]:
    """Return a finding for each further image of a case that holds less than half of the first."""
    first, *further = volumes
    shares = [share_held(one.grid, first.grid) for one in further]
    return [
        Finding("little_overlap", f"Image {at} of the case reaches {share:.0%} of the first.")
        for at, share in enumerate(shares, start=2)
        if share < LITTLE
    ]


def load_mask(case: Case, volume: Volume, labels: LabelSet) -> Mask:
    """Read the label of a case as class ids on the grid of its image.

    Returns
    -------
    mask : Mask
        All background where the case has no label, with the finding `label_absent`.

    Raises
    ------
    LabelError, GeometryError
        The label can't be read or lies on another grid.
    """
    if case.label is None:
        return merge(Regions((), volume.grid), labels)
    if isinstance(case.label, Path):
        return merge(read_nifti_labels(case.label, volume.grid), labels)
    if case.label.modality == "SEG":
        return merge(read_segments(case.label.path, volume.grid), labels)
    structures = read_structures(case.label.path)
    wanted = tuple(one for one in structures if labels.matches((one.name,)))
    unread = tuple(one.name for one in structures if one not in wanted)
    return merge(replace(rasterise(wanted, volume.grid), unread=unread), labels)


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case with its voxels.

    Parameters
    ----------
    digest
        SHA-256 of the first image's values: equal for an image that was exported twice, whatever its ids.
    further
        The other images, each on its own grid.
    """

    case: Case
    volume: Volume
    mask: Mask
    digest: str
    further: tuple[Volume, ...] = ()

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """All images, that with the label first."""
        return (self.volume, *self.further)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was noted about its label and its further images."""
        return (*self.mask.findings, *little_held(self.volumes))

    def digests(self) -> tuple[str, ...]:
        """Return SHA-256 of all that a training sees of the case: values, label, and where they lie."""
        grids = [self.mask.grid, *(one.grid for one in self.volumes)]
        places = b"".join(grid.affine.tobytes() for grid in grids)
        label = hashlib.sha256(self.mask.array.tobytes(order="F")).hexdigest()
        return (
            self.digest,
            label,
            hashlib.sha256(places).hexdigest(),
            " ".join(str(grid.shape) for grid in grids[1:]),
            *(image_digest(one) for one in self.further),
        )


def load_case(case: Case, labels: LabelSet, *, empty_is_negative: bool) -> LoadedCase | Finding:
    """Read image and label of a case, or say why it is left out.

    Parameters
    ----------
    case
        With or without a label.
    labels
        The classes.
    empty_is_negative
        An absent or empty label means that there is nothing, and the case is used.
    """
    try:
        volume = load_image(case)
        further = load_further(case, volume)
        mask = load_mask(case, volume, labels)
    except (SeriesRefused, FileRefused) as refusal:
        return refusal.finding
    except LabelError as error:
        return Finding("label_unreadable", str(error))
    except InputError as error:
        return Finding("label_off_grid", str(error))
    if not mask.array.any() and not empty_is_negative:
        reasons = [found for found in mask.findings if found.code.startswith("label_")]
        return replace(reasons[0])
    for one in (volume, *further):
        if float(np.ptp(one.array)) == 0.0:
            return Finding("constant_image", f"All voxels are {float(one.array.flat[0]):g}.")
    return LoadedCase(case, volume, mask, image_digest(volume), further)


def image_digest(volume: Volume) -> str:
    """Return the SHA-256 of a volume's values, whatever files they came from."""
    return hashlib.sha256(volume.array.tobytes(order="F")).hexdigest()
