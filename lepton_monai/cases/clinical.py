"""Which clinical values go with which case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lepton_monai.cases.case import Case
from lepton_monai.dicom import Series
from lepton_monai.labels.clinical import ClinicalColumns, ClinicalRow, read_clinical
from lepton_monai.labels.tables import By


@dataclass(frozen=True)
class ClinicalChoice:
    """Where clinical values come from.

    Parameters
    ----------
    columns
        Which.
    table
        CSV; None: nothing is known of any case.
    """

    columns: ClinicalColumns
    table: Path | None


def clinical_rows(cases: Sequence[Case], choice: ClinicalChoice, folder: Path) -> dict[str, ClinicalRow]:
    """Return what the table says of cases, by pseudonym; a case that it doesn't name isn't there.

    Parameters
    ----------
    cases
        Of a folder.
    choice
        Table and columns.
    folder
        Of the images: files are named by their path below it.

    Raises
    ------
    ConfigError
        The table can't be read.
    """
    rows = read_clinical(choice.table, choice.columns) if choice.table is not None else {}
    keys = {case.pseudonym: row_key(case, choice.columns.by, folder) for case in cases}
    return {name: rows[key] for name, key in keys.items() if key in rows}


def row_key(case: Case, by: By, folder: Path) -> str:
    """Return what a row about a case has in its column `by`; a file is named below a folder."""
    if by == "file" or not isinstance(case.image, Series):
        return file_of(case).relative_to(folder).as_posix()
    identity = case.image.identity
    keys = {
        "patient_id": identity.patient_id,
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
    }
    return keys[by]


def file_of(case: Case) -> Path:
    """Return the file of a case, of a series its first."""
    return Path(case.image.headers[0].file) if isinstance(case.image, Series) else case.image
