"""From what lies in a folder to cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lepton_monai.cases.case import Case
from lepton_monai.cases.images import ImageChoice, Place, join_files, join_images, places_of
from lepton_monai.cases.match import labels_without_image, match_labels
from lepton_monai.cases.persons import persons_of
from lepton_monai.core.errors import InputError
from lepton_monai.core.findings import FILE, Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.core.wording import counted, most_alike
from lepton_monai.dicom import Index, RefusedSeries, Series, scan
from lepton_monai.dicom.index import database_for
from lepton_monai.images.nifti import SUFFIXES, stem
from lepton_monai.labels.labelset import LabelSet

Source = Literal["rtstruct", "seg", "dicom", "nifti"]

MODALITIES: dict[str, tuple[str, ...]] = {
    "rtstruct": ("RTSTRUCT",),
    "seg": ("SEG",),
    "dicom": ("RTSTRUCT", "SEG"),
}


@dataclass(frozen=True)
class LabelChoice:
    """Which labels are wanted.

    Parameters
    ----------
    source
        Kind of label object.
    labels
        The classes.
    empty_is_negative
        Whether an absent or empty label means that there is nothing.
    folder
        Of NIfTI masks, below the root.
    """

    source: Source
    labels: LabelSet
    empty_is_negative: bool
    folder: str | None


@dataclass(frozen=True)
class DataChoice:
    """What to make cases of.

    Parameters
    ----------
    root
        Folder of DICOM, or of the folders of NIfTI files.
    exclude
        Patterns of names that are passed over.
    same_person
        From patient id to person, where a table joins them.
    further
        The other images of a case: those of the first's frame of reference.
    """

    root: Path
    exclude: tuple[str, ...]
    image: ImageChoice
    label: LabelChoice
    same_person: Mapping[str, str]
    further: tuple[ImageChoice, ...] = ()

    @property
    def images(self) -> tuple[ImageChoice, ...]:
        """All images of a case, that with the label first."""
        return (self.image, *self.further)


@dataclass(frozen=True)
class Collection:
    """Cases, and what was noted about those that are left out, by pseudonym.

    Parameters
    ----------
    cases
        All that can be used, as far as headers tell.
    findings
        About files, cases, and series of the wanted kind that make none.
    refused
        Series of the wanted kind that make no volume: their findings are among the others.
    """

    cases: tuple[Case, ...]
    findings: tuple[tuple[str, Finding], ...]
    refused: tuple[str, ...] = ()


def collect(data: DataChoice, pseudonyms: Pseudonyms, progress: Progress = SILENT) -> Collection:
    """Look through the root and make cases; no pixels or contours are read.

    Raises
    ------
    InputError
        Nothing there makes a case.
    """
    if data.label.source == "nifti":
        return _collect_nifti(data, pseudonyms)
    database = database_for([data.root], data.exclude)
    index = scan([data.root], data.exclude, database=database, progress=progress)
    if not index.series:
        about = (*(refused.finding for refused in index.refused), *index.findings)
        reasons = sorted({finding.code for finding in about})
        message = (
            f"{data.root} holds no usable DICOM series among {counted(index.files, 'file')}"
            f"{': ' + ', '.join(reasons) if reasons else ''}."
        )
        raise InputError(message)
    return _collect_dicom(index, data, pseudonyms)


def series_pseudonym(series: Series, pseudonyms: Pseudonyms) -> str:
    """Return the name that a series (or its part) has in everything that is written."""
    identity = series.identity
    parts = (identity.patient_key, identity.study_uid, identity.series_uid)
    return pseudonyms.of(series.modality, *parts, *([series.part] if series.part else []))


def refused_pseudonym(refused: RefusedSeries, pseudonyms: Pseudonyms) -> str:
    """Return the name that a refused series has in everything that is written."""
    identity = refused.identity
    parts = (identity.patient_key, identity.study_uid, identity.series_uid)
    return pseudonyms.of(refused.modality or "OT", *parts)


def refused_series(index: Index, image: ImageChoice, pseudonyms: Pseudonyms) -> list[tuple[str, Finding]]:
    """Return why each series of the wanted kind that makes no volume doesn't, by pseudonym."""
    return [
        (refused_pseudonym(one, pseudonyms), one.finding) for one in index.refused if not image.wants(one)
    ]


def study_pseudonym(series: Series, pseudonyms: Pseudonyms) -> str:
    """Return the name that the study of a series has in everything that is written."""
    return pseudonyms.of("ST", series.identity.patient_key, series.identity.study_uid)


def _collect_dicom(index: Index, data: DataChoice, pseudonyms: Pseudonyms) -> Collection:
    """Make a case of every wanted series; one without label only where that means something."""
    image, label = data.image, data.label
    images = [series for series in index.series if not image.wants(series)]
    if not images:
        kinds_there = " and ".join(sorted({series.modality for series in index.series}))
        message = (
            f"None of the {len(index.series)} usable series is {_described(image)}; they are {kinds_there}."
        )
        codes = [finding.code for _, finding in refused_series(index, image, pseudonyms)]
        if codes:
            message += f" {len(codes)} that would fit are refused: {', '.join(sorted(set(codes)))}."
        said = {series.description for series in index.series} - {""} if image.description else set()
        raise InputError(message).beside(most_alike(image.description or "", said))
    kinds = MODALITIES[label.source]
    annotations = [one for one in index.annotations if one.modality in kinds]
    matched, unwanted, noted = match_labels(images, annotations, label.labels)
    persons, leaks = persons_of(index.series, data.same_person)
    names = [series_pseudonym(series, pseudonyms) for series in images]
    name_of = {series.uid: name for series, name in zip(images, names, strict=True)}
    # Tables, masks and texts lie beside images everywhere: `index` counts them.
    findings = [(FILE, finding) for finding in index.findings if finding.code != "not_dicom"]
    findings += [("patients", finding) for finding in leaks]
    findings += [(name_of[finding.series_uid or ""], finding) for finding in noted]
    all_series = {one.uid for one in index.series} | {one.uid for one in index.refused}
    findings += [(FILE, one) for one in labels_without_image(annotations, label.labels, all_series)]
    refused = refused_series(index, image, pseudonyms)
    findings += refused
    places = places_of(index) if data.further else {}
    ambiguous = {finding.series_uid for finding in noted if finding.code == "label_ambiguous"}
    cases: list[Case] = []
    for at, (series, name) in enumerate(zip(images, names, strict=True)):
        if series.uid in ambiguous:
            continue
        if at not in matched and not label.empty_is_negative:
            message = f"No {' or '.join(kinds)} with a wanted label belongs to the series."
            there = label.labels.most_alike(unwanted.get(at, ()))
            findings.append((name, Finding("label_absent", message, series.uid, names=there)))
            continue
        further = _further_of(series, data, places)
        if isinstance(further, Finding):
            findings.append((name, further))
            continue
        key = series.identity.patient_key
        if not series.identity.patient_id:
            findings.append((name, Finding("patient_id_absent", "PatientID is absent.", series.uid)))
        cases.append(
            Case(
                pseudonym=name,
                patient=pseudonyms.of("P", persons[key]),
                patient_id=series.identity.patient_id or key,
                person=persons[key],
                image=series,
                label=matched.get(at),
                study=study_pseudonym(series, pseudonyms),
                further=further,
            )
        )
    if not cases:
        _require_joined(data, findings)
        message = (
            f"Of {len(images)} series {_described(image)} none has a label of the source "
            f"`{label.source}` that matches {', '.join(label.labels.names)}."
        )
        there = label.labels.most_alike(names[0] for one in annotations for names in one.region_names)
        raise InputError(message).beside(there)
    without_volume = dict.fromkeys(named for named, finding in refused if finding.severity == "refused")
    return Collection(tuple(cases), tuple(findings), tuple(without_volume))


def _further_of(
    series: Series, data: DataChoice, places: Mapping[Place, Sequence[Series | RefusedSeries]]
) -> tuple[Series, ...] | Finding:
    """Return the images that go with one, or why none of them is used."""
    further = join_images(series, data.further, places)
    images = (series,) if isinstance(further, Finding) else (series, *further)
    if any(found.code == "burned_in_annotation" for one in images for found in one.findings):
        return Finding("burned_in_annotation", "Burned-in annotation is flagged.", series.uid)
    return further


def _require_joined(data: DataChoice, findings: Sequence[tuple[str, Finding]]) -> None:
    """Refuse data where no image that could be used has those that should go with it."""
    apart = [found for _, found in findings if found.code in {"image_absent", "image_ambiguous"}]
    if apart:
        message = (
            f"No case has all of its images ({data.image.name}, "
            f"{', '.join(one.name for one in data.further)}): {apart[0].sentence()}"
        )
        raise InputError(message)


def _collect_nifti(data: DataChoice, pseudonyms: Pseudonyms) -> Collection:
    """Make a case of every NIfTI image; its mask has the same name."""
    root = data.root
    images = nifti_files(root / (data.image.folder or "images"), data.image.pattern)
    # A classification by a table or by folders names no class of a mask.
    masks = nifti_files(root / (data.label.folder or "labels")) if data.label.labels.classes else {}
    others = {one.name: nifti_files(root / (one.folder or one.name)) for one in data.further}
    cases: list[Case] = []
    findings: list[tuple[str, Finding]] = []
    for name, path in images.items():
        person = data.same_person.get(name, name)
        further = join_files(name, others)
        case = Case(
            pseudonym=pseudonyms.of("NII", name),
            patient=pseudonyms.of("P", person),
            patient_id=name,
            person=person,
            image=path,
            label=masks.get(name),
            further=() if isinstance(further, Finding) else further,
        )
        if case.label is None and not data.label.empty_is_negative:
            found = Finding("label_absent", "No mask has the name of the image.", path=path)
            findings.append((case.pseudonym, found))
            continue
        if isinstance(further, Finding):
            findings.append((case.pseudonym, replace(further, path=path)))
            continue
        cases.append(case)
    if not cases:
        _require_joined(data, findings)
        message = f"None of {counted(len(images), 'image')} in {root} has a mask of the same name."
        raise InputError(message)
    return Collection(tuple(cases), tuple(findings))


def nifti_files(folder: Path, pattern: str = "*") -> dict[str, Path]:
    """Return the NIfTI files of a folder by their stem, after the subfolder where they lie in one.

    Raises
    ------
    InputError
        The folder isn't there, holds none, or two of one name.
    """
    if not folder.is_dir():
        message = f"The folder {folder} doesn't exist."
        raise InputError(message)
    found = sorted(
        path
        for path in folder.glob(pattern)
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    )
    if not found:
        where = "" if pattern == "*" else " in subfolders"
        message = f"The folder {folder} holds no NIfTI file{where} (.nii, .nii.gz)."
        raise InputError(message)
    named = {(path.parent.relative_to(folder) / stem(path)).as_posix(): path for path in found}
    if len(named) < len(found):
        message = (
            f"In the folder {folder} {counted(len(found) - len(named), 'file')} differ from another in the "
            "ending alone (.nii, .nii.gz): keep one of each name."
        )
        raise InputError(message)
    return named


def _described(image: ImageChoice) -> str:
    parts = [f"of modality {image.modality}"] if image.modality else []
    parts += [f"described as {image.description}"] if image.description else []
    return " and ".join(parts) or "wanted"
