"""`lepton index`: what lies in some folders, what it can be used for, and why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lepton_monai.cases.collect import refused_pseudonym, series_pseudonym
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.dicom import Index, RefusedSeries, Series, scan
from lepton_monai.dicom.index import database_for


@dataclass(frozen=True)
class SeriesRow:
    """A line of the table: one volume, or one series that makes none.

    Parameters
    ----------
    name, patient, study
        Pseudonyms.
    modality
        CT, MR, PT, ...
    slices
        Number of files.
    spacing_mm
        None for a refused series.
    unit
        Of the values; empty for a refused series.
    findings
        What was noted; the last is the reason of a refusal.
    """

    name: str
    patient: str
    study: str
    modality: str
    slices: int
    spacing_mm: tuple[float, float, float] | None
    unit: str
    irregularity_mm: float | None
    shear_mm: float | None
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether the series makes a volume."""
        return self.spacing_mm is not None


@dataclass(frozen=True)
class IndexReport:
    """What `lepton index` prints."""

    roots: tuple[Path, ...]
    files: int
    rows: tuple[SeriesRow, ...]
    labels: tuple[str, ...]
    others: tuple[str, ...]
    findings: tuple[Finding, ...]


def index(
    folders: Sequence[Path],
    *,
    pseudonyms: Pseudonyms | None = None,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    database: Path | None = None,
    progress: Progress = SILENT,
) -> IndexReport:
    """Look through folders and report, by pseudonym, what can be used and what can't.

    Parameters
    ----------
    folders
        To look through.
    pseudonyms
        Name patients, studies and series; None: by the user's salt.
    exclude
        Patterns of names that are passed over.
    follow_links
        Follow symbolic links.
    database
        The index to use; None: the user's own of these folders.
    progress
        Told of every file.
    """
    database = database or database_for(folders, exclude, follow_links=follow_links)
    found = scan(folders, exclude, follow_links=follow_links, database=database, progress=progress)
    return report(found, pseudonyms or load_pseudonyms())


def report(found: Index, pseudonyms: Pseudonyms) -> IndexReport:
    """Turn an index into rows by pseudonym."""
    rows = [_usable(one, pseudonyms) for one in found.series]
    rows += [_refused(one, pseudonyms) for one in found.refused]
    return IndexReport(
        roots=found.roots,
        files=found.files,
        rows=tuple(sorted(rows, key=lambda row: (row.patient, row.study, row.modality, row.name))),
        labels=tuple(one.modality for one in found.annotations),
        others=tuple(one.kind for one in found.others),
        findings=found.findings,
    )


def _usable(series: Series, pseudonyms: Pseudonyms) -> SeriesRow:
    identity = series.identity
    return SeriesRow(
        name=series_pseudonym(series, pseudonyms),
        patient=pseudonyms.of("P", identity.patient_key),
        study=pseudonyms.of("ST", identity.patient_key, identity.study_uid),
        modality=series.modality,
        slices=len(series.headers),
        spacing_mm=series.grid.spacing_mm,
        unit=series.unit,
        irregularity_mm=series.irregularity_mm,
        shear_mm=series.shear_mm,
        findings=series.findings,
    )


def _refused(refused: RefusedSeries, pseudonyms: Pseudonyms) -> SeriesRow:
    return SeriesRow(
        name=refused_pseudonym(refused, pseudonyms),
        patient=pseudonyms.of("P", refused.identity.patient_key),
        study=pseudonyms.of("ST", refused.identity.patient_key, refused.identity.study_uid),
        modality=refused.modality,
        slices=len(refused.headers),
        spacing_mm=None,
        unit="",
        irregularity_mm=None,
        shear_mm=None,
        findings=(refused.finding,),
    )
