"""What lies in a folder: every file looked at once, every series with its volumes or the reason why not."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lepton_monai.core.errors import InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.patterns import matches
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.dicom.annotation import Annotation
from lepton_monai.dicom.header import Header, OtherObject, read_header
from lepton_monai.dicom.series import RefusedSeries, Series, volumes_of


@dataclass(frozen=True)
class Index:
    """The content of some folders.

    Parameters
    ----------
    roots
        The folders that were looked through.
    series
        Volumes, sorted by patient, study and series.
    refused
        Series, or parts of them, that make no volume.
    annotations
        RTSTRUCT and SEG objects.
    others
        DICOM objects of other kinds.
    findings
        About files and folders.
    files
        Number of files seen.
    """

    roots: tuple[Path, ...]
    series: tuple[Series, ...]
    refused: tuple[RefusedSeries, ...]
    annotations: tuple[Annotation, ...]
    others: tuple[OtherObject, ...]
    findings: tuple[Finding, ...]
    files: int


def scan(
    roots: Sequence[Path],
    exclude: Sequence[str] = (),
    *,
    follow_links: bool = False,
    progress: Progress = SILENT,
) -> Index:
    """Look through folders for DICOM.

    Parameters
    ----------
    roots
        Folders or files.
    exclude
        Patterns of names, or of paths below a root, that are passed over.
    follow_links
        Follow symbolic links; a circle is noticed.
    progress
        Told of every file.

    Returns
    -------
    index : Index
        In an order that depends on the content alone.

    Raises
    ------
    InputError
        A root doesn't exist.
    """
    walk = _Walk(tuple(exclude), follow_links)
    files = sorted({path for root in roots for path in walk.files(root)})
    findings = list(walk.findings)
    headers: dict[str, list[Header]] = defaultdict(list)
    annotations: list[Annotation] = []
    others: list[OtherObject] = []
    for path in progress.track(files, "reading headers", len(files)):
        found = read_header(path)
        if isinstance(found, Header):
            headers[found.identity.series_uid].append(found)
        elif isinstance(found, Annotation):
            annotations.append(found)
        elif isinstance(found, OtherObject):
            others.append(found)
        else:
            findings.append(found)
    series: list[Series] = []
    refused: list[RefusedSeries] = []
    for uid in progress.track(sorted(headers), "checking series", len(headers)):
        some, none = volumes_of(headers[uid])
        series += some
        refused += none
    return Index(
        roots=tuple(roots),
        series=tuple(sorted(series, key=_place)),  # stable: parts stay in their order
        refused=tuple(sorted(refused, key=lambda one: (one.patient_key, one.study_uid, one.uid))),
        annotations=tuple(annotations),
        others=tuple(others),
        findings=tuple(findings),
        files=len(files),
    )


def _place(series: Series) -> tuple[str, str, str]:
    identity = series.headers[0].identity
    return identity.patient_key, identity.study_uid, identity.series_uid


class _Walk:
    """Walks folders and notes what it can't enter."""

    def __init__(self, exclude: tuple[str, ...], follow_links: bool) -> None:
        self.exclude = exclude
        self.follow_links = follow_links
        self.findings: list[Finding] = []
        self._entered: set[tuple[int, int]] = set()

    def files(self, root: Path) -> Iterator[Path]:
        """Yield every file at or below a root."""
        if not root.exists():
            message = f"{root} doesn't exist."
            raise InputError(message)
        if root.is_file():
            yield root
            return
        waiting = [root]
        while waiting:
            for entry in self._entries(waiting.pop()):
                path = Path(entry.path)
                below = str(path.relative_to(root))
                if any(matches(entry.name, one) or matches(below, one) for one in self.exclude):
                    continue
                if entry.is_symlink() and not self.follow_links:
                    message = "A symbolic link is not followed."
                    self.findings.append(Finding("symbolic_link", message, path=path))
                    continue
                try:
                    if entry.is_dir():
                        waiting.append(path)
                    elif entry.is_file():
                        yield path
                except OSError as error:  # a link to itself, a device that is gone
                    message = f"The entry can't be read: {error.strerror}."
                    self.findings.append(Finding("unreadable_file", message, path=path))

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """List a folder in order; nothing where it was listed before or can't be read."""
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in self._entered:
                return []
            self._entered.add((state.st_dev, state.st_ino))
            return sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            message = f"The folder can't be read: {error.strerror}."
            self.findings.append(Finding("unreadable_folder", message, path=folder))
            return []
