"""Which series are the images of a case: one that the label is drawn on, and others of the same place."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lepton_monai.core.findings import Finding
from lepton_monai.core.patterns import matches
from lepton_monai.core.wording import counted
from lepton_monai.dicom import Index, RefusedSeries, Series

Place = tuple[str, str]
"""A patient, and a frame of reference."""


@dataclass(frozen=True)
class ImageChoice:
    """Which images are wanted.

    Parameters
    ----------
    name
        What the task calls the image.
    modality
        DICOM modality, such as PT; None: any.
    description
        Pattern of the series description; None: any.
    folder
        Of NIfTI images, below the root; None: DICOM.
    pattern
        Of NIfTI files below that folder: in it, or in its subfolders.
    """

    name: str
    modality: str | None
    description: str | None
    folder: str | None
    pattern: Literal["*", "*/*"] = "*"

    def wants(self, series: Series | RefusedSeries) -> str:
        """Say why a series isn't wanted; empty: it is."""
        if self.modality and series.modality != self.modality:
            return f"its modality is {series.modality}, {self.modality} is wanted"
        if self.description and not matches(series.description, self.description):
            return "its description doesn't match the pattern"
        return ""


def places_of(index: Index) -> dict[Place, list[Series | RefusedSeries]]:
    """Return every series, usable or refused, by whose and where it is, where it says so."""
    found: dict[Place, list[Series | RefusedSeries]] = defaultdict(list)
    everything: list[Series | RefusedSeries] = [*index.series, *index.refused]
    for one in everything:
        if one.identity.frame_of_reference_uid:
            found[_place(one)].append(one)
    return found


def join_images(
    first: Series,
    choices: Sequence[ImageChoice],
    places: Mapping[Place, Sequence[Series | RefusedSeries]],
) -> tuple[Series, ...] | Finding:
    """Return the images that go with one, or why a case can't be made of it.

    Parameters
    ----------
    first
        The image that the label is drawn on.
    choices
        The other images that are wanted.
    places
        All series: see `places_of`. Nothing but a common frame of reference (PS3.3 C.7.4.1) says that
        voxels of two series may be laid on each other; of several series that of the same study is taken.
    """
    joined: list[Series] = []
    beside = places.get(_place(first), ())
    for choice in choices:
        wanted = [one for one in beside if one is not first and not choice.wants(one)]
        of_study = [one for one in wanted if one.identity.study_uid == first.identity.study_uid]
        # A refused one of the same study isn't replaced by one of another day.
        usable = [one for one in of_study or wanted if isinstance(one, Series)]
        if len(usable) > 1:
            message = f"{len(usable)} series fit `{choice.name}`."
            return Finding("image_ambiguous", message, first.uid)
        if not usable:
            message = _absent(first, choice, of_study or wanted, beside)
            return Finding("image_absent", message, first.uid)
        if usable[0] in joined:
            other = choices[joined.index(usable[0])]
            message = f"One series fits both `{other.name}` and `{choice.name}`."
            return Finding("image_ambiguous", message, first.uid)
        joined.append(usable[0])
    return tuple(joined)


def join_files(name: str, others: Mapping[str, Mapping[str, Path]]) -> tuple[Path, ...] | Finding:
    """Return the NIfTI files that go with one, or which of them isn't there.

    Parameters
    ----------
    name
        Of the file, without its ending: all images of a case share it.
    others
        Files by that name, of each other image by its own.
    """
    for image, files in others.items():
        if name not in files:
            return Finding("image_absent", f"No file of `{image}` has the name of the first image's.")
    return tuple(files[name] for files in others.values())


def _absent(
    first: Series,
    choice: ImageChoice,
    refused: Sequence[Series | RefusedSeries],
    there: Sequence[Series | RefusedSeries],
) -> str:
    if not first.identity.frame_of_reference_uid:
        return f"The image has no frame of reference: nothing says where `{choice.name}` lies on it."
    codes = sorted({one.finding.code for one in refused if isinstance(one, RefusedSeries)})
    if codes:
        refusals = counted(len(refused), "refused series")
        return f"Of `{choice.name}` there is nothing but {refusals}: {', '.join(codes)}."
    wanted = (choice.modality or "any modality") + (", by its description" if choice.description else "")
    kinds = ", ".join(sorted({one.modality for one in there if one.uid != first.uid}))
    beside = f"beside it are {kinds}" if kinds else "nothing lies beside it"
    return f"No series of its frame of reference is `{choice.name}` ({wanted}): {beside}."


def _place(series: Series | RefusedSeries) -> Place:
    return series.identity.patient_key, series.identity.frame_of_reference_uid
