"""`lepton convert`: any tree of DICOM to NIfTI, each image with a JSON beside it."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai import __version__
from lepton_monai.cases.case import origin_of
from lepton_monai.cases.collect import refused_pseudonym, series_pseudonym
from lepton_monai.core.errors import InputError, OutputFolderError, SeriesRefused
from lepton_monai.core.files import claim_folder, locked, require_ours, write_json
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import SAME_GRID_MM
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import counted
from lepton_monai.dicom import Index, RefusedSeries, Series, read_series, regularise, repair, scan
from lepton_monai.dicom.dataset import foreign_file, read_head
from lepton_monai.dicom.index import database_for
from lepton_monai.dicom.repair import Repair, irregular_stack
from lepton_monai.exports.nifti import write_image
from lepton_monai.exports.sidecar import Origin, sidecar


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
    """One file that was written, without its suffix; the name of its whole series; what it holds."""

    name: str
    whole: str
    part: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    unit: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Image:
    """One image to write: a volume, or several on one grid; `resampled` onto right angles at first."""

    name: str
    whole: str
    series: tuple[Series, ...]
    resampled: RefusedSeries | None = None


@dataclass(frozen=True)
class ConvertReport:
    """What `lepton convert` prints.

    Parameters
    ----------
    written
        The images, sorted by name.
    left_out
        Series, or parts of them, that make no volume, by pseudonym, and why.
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
        The folder isn't ours, or holds images and `resume` is not set, or was made by other options.
    """
    require_ours(out, "convert")
    names = pseudonyms or load_pseudonyms()
    database = database or database_for(folders, exclude, follow_links=follow_links)
    found = scan(folders, exclude, follow_links=follow_links, database=database, progress=progress)
    if not found.series and not found.refused:
        message = f"There is no DICOM image among {counted(found.files, 'file')}."
        raise InputError(message)
    claim_folder(out, "convert")
    with locked(out):
        _claim_options(out, {**asdict(repairs), "join_time": join_time}, resume=resume)
        there = _whole_images(out)
        images, left_out = _planned(found, names, repairs, join_time=join_time)
        written: list[ConvertedImage] = []
        todo = [image for image in images if image.name not in there]
        for image in progress.track(todo, "converting", len(todo)):
            try:
                written.append(_write(image, repairs, out))
            except SeriesRefused as refusal:
                left_out.append((image.name, refusal.finding))
        if not written and not there:
            raise InputError(_nothing(left_out))
        _write_key(out, [image for image in images if image.name in _whole_images(out)])
    return ConvertReport(
        out=out,
        roots=found.roots,
        written=tuple(sorted(written, key=lambda image: (image.whole, image.part, image.name))),
        left_out=tuple(left_out),
        findings=found.findings,
        already_there=len(images) - len(todo),
    )


def _claim_options(out: Path, options: dict[str, bool], *, resume: bool) -> None:
    """Write what the images of a folder are made with; refuse to mix them with others."""
    path = out / "manifest.json"
    there = _whole_images(out)
    if there and not resume:
        images = counted(len(there), "image")
        message = f"{out} holds {images} already; go on with --resume, or name another folder."
        raise OutputFolderError(message)
    if there:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["options"]
        except (OSError, ValueError, KeyError, TypeError):
            before = None
        if before != options:
            message = f"{out} was made with other options: repeat them, or name another folder."
            raise OutputFolderError(message)
        return
    write_json(path, {"schema_version": 1, "lepton_monai": __version__, "options": options})


def _whole_images(out: Path) -> set[str]:
    """Return the names of the images whose JSON is there: it is written last."""
    ending = ".nii.gz"
    names = {path.name.removesuffix(ending) for path in out.glob(f"*{ending}")}
    return {name for name in names if (out / f"{name}.json").exists()}


def _nothing(left_out: Sequence[tuple[str, Finding]]) -> str:
    reasons = "; ".join(sorted({f"{finding.code}: {finding.sentence()}" for _, finding in left_out}))
    return f"No series makes a volume. {reasons}"


def _planned(
    found: Index, names: Pseudonyms, repairs: Repairs, *, join_time: bool
) -> tuple[list[_Image], list[tuple[str, Finding]]]:
    """Say which images there will be, each under a name of its own, and what is left out."""
    usable = list(found.series)
    resampled: list[tuple[Series, RefusedSeries]] = []
    left_out: list[tuple[str, Finding]] = []
    for refused in found.refused:
        stack = irregular_stack(refused, fill_gaps=repairs.fill_gaps) if repairs.regularise else None
        mended = [] if stack else repair(refused, _allowed(repairs))
        usable += mended
        if stack:
            resampled.append((stack, refused))
        elif not mended:
            left_out.append((refused_pseudonym(refused, names), refused.finding))
    groups = _groups(usable) if join_time else [(one,) for one in usable]
    planned: list[tuple[tuple[Series, ...], RefusedSeries | None]] = [(group, None) for group in groups]
    planned += [((stack,), refused) for stack, refused in resampled]
    taken: Counter[str] = Counter()
    images: list[_Image] = []
    for group, refused_one in planned:
        whole = replace(group[0], part="")
        one = group[0] if len(group) == 1 else whole
        taken[series_pseudonym(one, names)] += 1
        number = taken[series_pseudonym(one, names)]
        if number > 1:  # a part that was refused and mended, beside one that was not
            one = replace(one, part=f"{one.part} mended {number}")
        images.append(
            _Image(series_pseudonym(one, names), series_pseudonym(whole, names), group, refused_one)
        )
    return images, left_out


def _allowed(repairs: Repairs) -> set[Repair]:
    allowed: set[Repair] = {"keep_tilt"}
    allowed |= {"fill_gaps"} if repairs.fill_gaps else set()
    allowed |= {"by_instance_number"} if repairs.by_instance_number else set()
    return allowed


def _groups(series: Sequence[Series]) -> list[tuple[Series, ...]]:
    """Put the volumes of one series on one grid together."""
    groups: list[list[Series]] = []
    for one in series:
        for group in groups:
            first = group[0]
            same = (first.uid, first.identity.study_uid, first.unit) == (
                one.uid,
                one.identity.study_uid,
                one.unit,
            )
            if same and first.grid.corner_distance_mm(one.grid) < SAME_GRID_MM:
                group.append(one)
                break
        else:
            groups.append([one])
    return [tuple(group) for group in groups]


def _volumes(image: _Image, repairs: Repairs) -> Iterator[Volume]:
    if image.resampled is None:
        yield from (read_series(one, dtype=None) for one in image.series)
        return
    volume = regularise(image.resampled, fill_gaps=repairs.fill_gaps)
    if volume is not None:
        yield volume


def _write(image: _Image, repairs: Repairs, out: Path) -> ConvertedImage:
    volumes = list(_volumes(image, repairs))
    first = volumes[0]
    array = first.array if len(volumes) == 1 else np.stack([one.array for one in volumes], axis=3)
    write_image(_narrowed(array), first.grid, out / f"{image.name}.nii.gz")
    valid = [one.valid for one in volumes if one.valid is not None]
    mask = f"{image.name}_valid.nii.gz" if valid else ""
    if valid:
        everywhere = np.logical_and.reduce(valid).astype(np.uint8)
        write_image(everywhere, first.grid, out / mask)
    findings = tuple(dict.fromkeys(finding for one in volumes for finding in one.findings))
    headers = [one.headers[0] for one in image.series]
    with foreign_file():
        origin = Origin(
            dataset=read_head(headers[0].path),
            headers=headers,
            series=image.whole,
            part=image.series[0].part if len(image.series) == 1 else "",
            valid_mask=mask,
            version=__version__,
        )
        content = sidecar(replace(first, findings=findings), origin)
    write_json(out / f"{image.name}.json", content)
    return ConvertedImage(
        image.name, image.whole, origin.part, array.shape, first.grid.spacing_mm, first.unit, findings
    )


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """Bring integers to the narrowest type that every reader of NIfTI knows; headers promise wider ones."""
    if array.dtype.kind in "iu" and array.dtype.itemsize > 1:
        low, high = int(array.min()), int(array.max())
        for kind in (np.int16, np.uint16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind, copy=False)
    return array


def _write_key(out: Path, images: Sequence[_Image]) -> None:
    """Write the one file that links the images back to patient, study and series, mode 0600."""
    content: dict[str, Any] = {}
    for image in images:
        origin = origin_of(image.series[0])
        content[image.name] = origin if len(image.series) == 1 else origin | {"part": ""}
    write_json(out / "key.json", content, mode=0o600)
