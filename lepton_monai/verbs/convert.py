"""`lepton convert`: any tree of DICOM to NIfTI, each image with a JSON beside it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lepton_monai.cases.collect import refused_pseudonym, series_pseudonym
from lepton_monai.core.errors import InputError, OutputFolderError, SeriesRefused
from lepton_monai.core.files import MARKER, claim_folder, locked, write_json
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import RefusedSeries, Series, read_series, regularise, repair, scan
from lepton_monai.dicom.dataset import foreign_file, read_head
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.index import database_for
from lepton_monai.exports.nifti import write_image
from lepton_monai.exports.sidecar import sidecar


@dataclass(frozen=True)
class Repairs:
    """What may be made of a refused series.

    Parameters
    ----------
    regularise
        Resample gantry tilt and varying spacing once onto a grid at right angles; else a tilt is kept
        exactly, in a sheared affine, and varying spacing is left out.
    fill_gaps
        Leave missing slices empty, marked as invalid.
    by_instance_number
        Tell volumes apart by InstanceNumber where nothing else does.
    """

    regularise: bool = False
    fill_gaps: bool = False
    by_instance_number: bool = False


NO_REPAIRS = Repairs()


@dataclass(frozen=True)
class ConvertedImage:
    """One file that was written: its name without the suffix, and what it holds."""

    name: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    unit: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ConvertReport:
    """What `lepton convert` prints.

    Parameters
    ----------
    written
        The images, sorted by name.
    left_out
        Series that make no volume, by pseudonym, and why.
    findings
        About files.
    already_there
        Number of images that an earlier start had written.
    """

    out: Path
    roots: tuple[Path, ...]
    written: tuple[ConvertedImage, ...]
    left_out: tuple[tuple[str, Finding], ...]
    findings: tuple[Finding, ...]
    already_there: int


def convert(
    folders: Sequence[Path],
    out: Path,
    *,
    repairs: Repairs = NO_REPAIRS,
    join_time: bool = False,
    resume: bool = False,
    pseudonyms: Pseudonyms | None = None,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    database: Path | None = None,
    progress: Progress = SILENT,
) -> ConvertReport:
    """Write every volume of some folders as NIfTI.

    Parameters
    ----------
    folders
        To look through.
    out
        The folder to make. An image is whole when its JSON is there: that is written last.
    repairs
        What may be made of refused series.
    join_time
        Write the volumes of one series on one grid as a single file with a fourth axis.
    resume
        Go on in a folder that an earlier start has made; what is there is not written again.
    pseudonyms
        Name the images; None: by the user's salt.
    exclude, follow_links, database, progress
        As for `index`.

    Raises
    ------
    InputError
        No file there makes a volume.
    OutputFolderError
        The folder isn't ours, or holds images and `resume` is not set.
    """
    names = pseudonyms or load_pseudonyms()
    database = database or database_for(folders, exclude, follow_links=follow_links)
    found = scan(folders, exclude, follow_links=follow_links, database=database, progress=progress)
    if not found.series and not found.refused:
        message = f"There is no DICOM image among the {found.files} files."
        raise InputError(message)
    claim_folder(out, "convert")
    with locked(out):
        there = {path.stem for path in out.glob("*.json") if path.name != MARKER}
        if there and not resume:
            message = (
                f"{out} holds {len(there)} images already; go on with --resume, or name another folder."
            )
            raise OutputFolderError(message)
        left_out: list[tuple[str, Finding]] = []
        written: list[ConvertedImage] = []
        groups = _groups(found.series, join_time)
        for group in progress.track(groups, "converting", len(groups)):
            name = series_pseudonym(group[0] if len(group) == 1 else replace(group[0], part=""), names)
            if name not in there:
                _write_group(group, out / name, written, left_out)
        for one in progress.track(found.refused, "repairing", len(found.refused)):
            _write_refused(one, out / refused_pseudonym(one, names), repairs, (there, written, left_out))
    if not written and not there:
        raise InputError(_nothing(left_out))
    return ConvertReport(
        out=out,
        roots=found.roots,
        written=tuple(sorted(written, key=lambda image: image.name)),
        left_out=tuple(left_out),
        findings=found.findings,
        already_there=len(there),
    )


def _nothing(left_out: Sequence[tuple[str, Finding]]) -> str:
    reasons = "; ".join(sorted({f"{finding.code}: {finding.sentence()}" for _, finding in left_out}))
    return f"No series makes a volume. {reasons}"


def _groups(series: Sequence[Series], join_time: bool) -> list[list[Series]]:
    """Put the volumes of one series on one grid together, if they are to be one file."""
    if not join_time:
        return [[one] for one in series]
    groups: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        key = (one.uid, one.unit, one.grid.shape, np.round(one.grid.affine, 3).tobytes())
        groups[key].append(one)
    return list(groups.values())


def _write_group(
    group: Sequence[Series],
    stem: Path,
    written: list[ConvertedImage],
    left_out: list[tuple[str, Finding]],
) -> None:
    try:
        volumes = [read_series(one, dtype=None) for one in group]
    except SeriesRefused as refusal:
        left_out.append((stem.name, refusal.finding))
        return
    written.append(_write(volumes, group[0].headers[0], stem))


def _write_refused(
    refused: RefusedSeries,
    stem: Path,
    repairs: Repairs,
    kept: tuple[set[str], list[ConvertedImage], list[tuple[str, Finding]]],
) -> None:
    there, written, left_out = kept
    try:
        volumes = list(_repaired(refused, repairs))
    except SeriesRefused as refusal:
        left_out.append((stem.name, refusal.finding))
        return
    if not volumes:
        left_out.append((stem.name, refused.finding))
    for number, volume in enumerate(volumes, start=1):
        place = stem if len(volumes) == 1 else stem.with_name(f"{stem.name}-{number}")
        if place.name not in there:
            written.append(_write([volume], refused.headers[0], place))


def _repaired(refused: RefusedSeries, repairs: Repairs) -> Iterator[Volume]:
    if repairs.regularise:
        volume = regularise(refused)
        if volume is not None:
            yield volume
            return
    allowed: set[Any] = {"keep_tilt"}
    allowed |= {"fill_gaps"} if repairs.fill_gaps else set()
    allowed |= {"by_instance_number"} if repairs.by_instance_number else set()
    for series in repair(refused, allowed):
        yield read_series(series, dtype=None)


def _write(volumes: Sequence[Volume], header: Header, stem: Path) -> ConvertedImage:
    first = volumes[0]
    array = first.array if len(volumes) == 1 else np.stack([one.array for one in volumes], axis=3)
    write_image(array, first.grid, stem.with_name(f"{stem.name}.nii.gz"))
    valid = [one.valid for one in volumes if one.valid is not None]
    if valid:
        everywhere = np.logical_and.reduce(valid).astype(np.uint8)
        write_image(everywhere, first.grid, stem.with_name(f"{stem.name}_valid.nii.gz"))
    findings = tuple(dict.fromkeys(finding for one in volumes for finding in one.findings))
    with foreign_file():
        content = sidecar(replace(first, findings=findings), read_head(header.path))
    write_json(stem.with_name(f"{stem.name}.json"), content)
    return ConvertedImage(stem.name, array.shape, first.grid.spacing_mm, first.unit, findings)
