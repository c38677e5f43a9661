"""What of a folder fits a model, and why the rest doesn't."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import FileFormat, picture_case, picture_files
from lepton_monai.cases.collect import (
    nifti_files,
    refused_pseudonym,
    series_pseudonym,
    study_pseudonym,
)
from lepton_monai.cases.images import ImageChoice, join_files, join_images, places_of
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.findings import FILE, Finding
from lepton_monai.core.progress import Progress
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.dicom import RefusedSeries, Series, scan
from lepton_monai.plans.classification import SourcePlan


@dataclass(frozen=True)
class Candidates:
    """What fits, and what doesn't, by pseudonym.

    Parameters
    ----------
    cases
        To predict.
    refused
        Series of the wanted kind that make no volume, or lack one that should go with them.
    passed_over
        Series and images that aren't wanted.
    findings
        About files.
    """

    cases: tuple[Case, ...]
    refused: tuple[tuple[str, Finding], ...] = ()
    passed_over: tuple[tuple[str, Finding], ...] = ()
    findings: tuple[tuple[str, Finding], ...] = ()

    def require_some(self, folder: Path) -> None:
        """Raise unless something fits.

        Raises
        ------
        InputError
            With each reason.
        """
        if self.cases:
            return
        about = [*self.refused, *self.passed_over, *self.findings]
        told = Counter(f"{name}: {finding.code}: {finding.sentence()}" for name, finding in about)
        reasons = [f"  {line}{f' ({times} times)' if times > 1 else ''}" for line, times in told.items()]
        why = "." if reasons else ": it holds no image."
        raise InputError("\n".join([f"Nothing in {folder} fits the model{why}", *reasons]))


def class_candidates(
    source: SourcePlan, folder: Path, pseudonyms: Pseudonyms, series_uid: str | None, progress: Progress
) -> Candidates:
    """Return what of a folder fits a classifier with such a source.

    Raises
    ------
    ConfigError
        A series is asked for where there are none.
    """
    if source.file_format == "dicom":
        choice = ImageChoice(source.name, source.modality, source.description, None)
        return series_candidates([choice], source.units, folder, pseudonyms, series_uid, progress)
    require_no_series(series_uid, source.file_format)
    if source.file_format == "nifti":
        return nifti_candidates(folder, pseudonyms)
    files = picture_files(folder)
    return Candidates(tuple(picture_case(path, folder, pseudonyms, {}) for path in files))


def require_no_series(series_uid: str | None, file_format: FileFormat) -> None:
    """Refuse to look for a DICOM series among other files."""
    if series_uid is not None:
        message = f"--series names a DICOM series; the model is for {file_format} files."
        raise ConfigError(message)


def nifti_candidates(folder: Path, pseudonyms: Pseudonyms, images: Sequence[str] = ()) -> Candidates:
    """Return every NIfTI file of a folder.

    Parameters
    ----------
    folder
        Of files; of a folder for each image where there are several, by its name.
    pseudonyms
        Name the cases.
    images
        Names of the images where there are several.
    """
    first, *others = images or [""]
    files = {image: nifti_files(folder / image) for image in others}
    cases: list[Case] = []
    refused: list[tuple[str, Finding]] = []
    for name, path in nifti_files(folder / first).items():
        case, further = _nifti_case(name, path, pseudonyms), join_files(name, files)
        if isinstance(further, Finding):
            refused.append((case.pseudonym, replace(further, path=path)))
        else:
            cases.append(replace(case, further=further))
    return Candidates(tuple(cases), tuple(refused))


def series_candidates(
    choices: Sequence[ImageChoice],
    units: tuple[str, ...],
    folder: Path,
    pseudonyms: Pseudonyms,
    series_uid: str | None,
    progress: Progress,
) -> Candidates:
    """Return the series of a folder that are wanted.

    Parameters
    ----------
    choices
        Modality and description of each image of a case.
    units
        Of the first one's values that the model was trained on.
    folder
        Of DICOM.
    pseudonyms
        Name the cases.
    series_uid
        Only this series; None: all.
    progress
        Told of every file.
    """
    choice, *further = choices
    index = scan([folder], progress=progress)
    places = places_of(index) if further else {}
    cases: list[Case] = []
    refused: list[tuple[str, Finding]] = []
    passed_over: list[tuple[str, Finding]] = []
    for series in index.series:
        name = series_pseudonym(series, pseudonyms)
        reason = _unwanted(series, choice, series_uid)
        if not reason and series.unit not in units:
            reason = f"its values are in {series.unit}, the model was trained on {' or '.join(units)}"
        if reason:
            passed_over.append((name, _does_not_fit(reason, series)))
            continue
        others = join_images(series, further, places)
        if isinstance(others, Finding):
            refused.append((name, others))
        else:
            cases.append(replace(_dicom_case(series, name, pseudonyms), further=others))
    for one in index.refused:
        name, reason = refused_pseudonym(one, pseudonyms), _unwanted(one, choice, series_uid)
        if reason:
            passed_over.append((name, _does_not_fit(reason, one)))
        elif one.finding.severity == "refused":
            refused.append((name, one.finding))
        else:
            passed_over.append((name, one.finding))
    joined = {one.uid for case in cases for one in case.further if isinstance(one, Series)}
    passed_over = [(name, finding) for name, finding in passed_over if finding.series_uid not in joined]
    about_files = [(FILE, finding) for finding in index.findings]
    return Candidates(tuple(cases), tuple(refused), tuple(passed_over), tuple(about_files))


def _unwanted(series: Series | RefusedSeries, choice: ImageChoice, series_uid: str | None) -> str:
    """Say why a series isn't wanted; empty: it is."""
    if series_uid is not None and series.uid != series_uid:
        return "another series was asked for"
    return choice.wants(series)


def _does_not_fit(reason: str, series: Series | RefusedSeries) -> Finding:
    return Finding("does_not_fit", f"{reason[0].upper()}{reason[1:]}.", series.uid)


def _dicom_case(series: Series, name: str, pseudonyms: Pseudonyms) -> Case:
    identity = series.identity
    return Case(
        pseudonym=name,
        patient=pseudonyms.of("P", identity.patient_key),
        patient_id=identity.patient_id,
        person=identity.patient_key,
        image=series,
        label=None,
        study=study_pseudonym(series, pseudonyms),
    )


def _nifti_case(name: str, path: Path, pseudonyms: Pseudonyms) -> Case:
    patient = pseudonyms.of("P", name)
    return Case(pseudonyms.of("NII", name), patient, name, name, path, None)
