"""What lies in a folder: every file looked at once, every series with its volumes or the reason why not."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_monai.core.errors import MachineError
from lepton_monai.core.files import cache_folder
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.dicom.annotation import Annotation
from lepton_monai.dicom.file import parse_file
from lepton_monai.dicom.frames import OtherObject, headers_of, not_an_image
from lepton_monai.dicom.identity import Identity
from lepton_monai.dicom.recall import Recall
from lepton_monai.dicom.series import RefusedSeries, Series
from lepton_monai.dicom.store import (
    RECENT_FILES,
    FileRow,
    KnownFile,
    Store,
    add_files,
    forget_files,
    forget_unseen_folders,
    image_columns,
    known_files,
    next_file,
    next_visit,
    number_of_files,
    remove_database,
)
from lepton_monai.dicom.tree import Tree
from lepton_monai.dicom.volumes import make_volumes, path_of, read_volumes

_NO_IMAGE = (None, None, None, None, None, None)


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
    roots: Sequence[str | Path],
    exclude: Sequence[str] = (),
    *,
    follow_links: bool = False,
    database: Path | None = None,
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
    database
        The index to use: a file that it holds unchanged isn't read again. An index is of one set of
        folders; given others, it forgets the first. None: a temporary one.
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
    MachineError
        The index can't be written.
    """
    tree = Tree(roots, exclude, follow_links=follow_links)
    try:
        return _scanned(tree, Store(database), progress)
    except sqlite3.OperationalError as error:
        message = f"The index {database} can't be used: {error}."
        raise MachineError(message) from error
    except sqlite3.DatabaseError:
        # Damaged beyond its head: it is only a cache.
        if database is None:
            raise
        remove_database(database)
        return _scanned(Tree(roots, exclude, follow_links=follow_links), Store(database), progress)


def _scanned(tree: Tree, store: Store, progress: Progress) -> Index:
    with store.writing() as connection:
        findings = _take_in(tree, store, connection, progress)
    return _index(store, tree, findings)


def database_for(
    roots: Sequence[Path], exclude: Sequence[str] = (), *, follow_links: bool = False
) -> Path | None:
    """Return where the user's index of these folders is kept; None: there is no place for it."""
    folder = cache_folder()
    if folder is None:
        return None
    scope = [*sorted(str(root.absolute()) for root in roots), *sorted(exclude), str(follow_links)]
    digest = hashlib.sha256("\0".join(scope).encode("utf-8", "surrogateescape")).hexdigest()
    return folder / "index" / f"{digest[:16]}.sqlite"


def _take_in(tree: Tree, store: Store, connection: sqlite3.Connection, progress: Progress) -> list[Finding]:
    """Bring the index up to date; return what can't be looked at."""
    visit, file = next_visit(connection), next_file(connection)
    recall = Recall()
    rows: list[FileRow] = []
    findings: list[Finding] = []
    looked_at = _looked_at(tree, connection, visit)
    about = number_of_files(connection) or tree.count()
    for folder, entry, known in progress.track(looked_at, "reading headers", about):
        try:
            status = entry.stat()
        except OSError as error:
            message = f"The entry can't be read: {error.strerror}."
            findings.append(Finding("unreadable_file", message, path=Path(entry.path)))
            continue
        state = (status.st_size, status.st_mtime_ns, status.st_ino)
        if known is not None and known.state == state:
            continue
        if known is not None:
            forget_files(connection, [known])
        rows.append(
            (file, folder, os.fsencode(entry.name), *state, *_columns(entry.path, file, store, recall))
        )
        file += 1
        if len(rows) == RECENT_FILES:
            _add(rows, store, connection)
            store.recent.clear()
            rows = []
    forget_unseen_folders(connection, visit)
    _add(rows, store, connection)
    return [*tree.findings, *findings]


def _add(rows: list[FileRow], store: Store, connection: sqlite3.Connection) -> None:
    """Take in files, and make the volumes of their series anew: a kill loses no more than these."""
    add_files(connection, rows)
    for (uid,) in connection.execute("SELECT series_uid FROM stale ORDER BY series_uid").fetchall():
        make_volumes(store, connection, uid)
    connection.execute("DELETE FROM stale")
    connection.commit()


def _looked_at(
    tree: Tree, connection: sqlite3.Connection, visit: int
) -> Iterator[tuple[int, "os.DirEntry[str]", KnownFile | None]]:
    """Yield every file with its folder's id and what is known of it; forget those that are gone."""
    for path, entries in tree.folders():
        folder, known = known_files(connection, path, visit)
        for entry in entries:
            yield folder, entry, known.pop(os.fsencode(entry.name), None)
        forget_files(connection, known.values())


def _columns(path: str, file: int, store: Store, recall: Recall) -> FileRow:
    """Read a file; return the columns from `kind` on."""
    parsed = parse_file(path, recall)
    if isinstance(parsed, Finding):
        return ("finding", json.dumps([parsed.code, parsed.message]), *_NO_IMAGE)
    other = not_an_image(parsed, path)
    if other is None:
        store.recent[file] = headers_of(parsed, path)
        return ("image", None, *image_columns(parsed))
    if isinstance(other, Finding):
        return ("finding", json.dumps([other.code, other.message]), *_NO_IMAGE)
    if isinstance(other, OtherObject):
        return ("other", other.kind, *_NO_IMAGE)
    content = asdict(other) | {
        "path": None,
        "referenced_instance_uids": sorted(other.referenced_instance_uids),
    }
    return ("label", json.dumps(content), *_NO_IMAGE)


def _index(store: Store, tree: Tree, findings: Sequence[Finding]) -> Index:
    series, refused = read_volumes(store)
    annotations: list[Annotation] = []
    others: list[OtherObject] = []
    about_files: list[Finding] = []
    with store.reading() as connection:
        files = number_of_files(connection)
        rows = connection.execute(
            "SELECT kind, detail, folders.path, name FROM files JOIN folders ON folder = folders.id"
            " WHERE kind != 'image' UNION ALL"
            " SELECT 'finding', json_array(code, message, findings.series_uid), folders.path, name"
            " FROM findings JOIN files ON file = files.id JOIN folders ON folder = folders.id"
            " WHERE volume IS NULL ORDER BY 3, 4"
        )
        for kind, detail, folder, name in rows:
            path = path_of(folder, name)
            if kind == "label":
                annotations.append(_annotation(json.loads(detail), path))
            elif kind == "other":
                others.append(OtherObject(path, detail))
            else:
                code, message, *uid = json.loads(detail)
                about_files.append(Finding(code, message, uid[0] if uid else None, path))
    return Index(
        roots=tree.roots,
        series=tuple(series),
        refused=tuple(refused),
        annotations=tuple(annotations),
        others=tuple(others),
        findings=(*findings, *about_files),
        files=files,
    )


def _annotation(content: dict[str, Any], path: Path) -> Annotation:
    return Annotation(
        path=path,
        modality=content["modality"],
        identity=Identity(**content["identity"]),
        referenced_series_uids=tuple(content["referenced_series_uids"]),
        referenced_instance_uids=frozenset(content["referenced_instance_uids"]),
        region_names=tuple(tuple(names) for names in content["region_names"]),
    )
