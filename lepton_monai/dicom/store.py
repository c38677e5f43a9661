"""The index on disk: one SQLite file of what was read, so that an unchanged file is never read again.

It is a cache: without it, or when it is damaged or of another version, all is read anew. It holds paths and
patient ids, so it is for its owner alone (0600).
"""

import os
import sqlite3
import struct
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from lepton_monai.core.errors import MachineError
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.elements import from_bytes, to_bytes
from lepton_monai.dicom.file import ParsedFile, PixelElement
from lepton_monai.dicom.header import Header

VERSION = 3
"""Raised with every change of the tables or of what the walker keeps: an older index is made anew."""

_TABLES = (
    "CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB UNIQUE, visit INTEGER)",
    "CREATE TABLE files (id INTEGER PRIMARY KEY, folder INTEGER, name BLOB,"
    " size INTEGER, changed_ns INTEGER, inode INTEGER, kind TEXT, detail TEXT, series_uid TEXT,"
    " syntax TEXT, has_preamble INTEGER, pixels BLOB, elements BLOB, frames BLOB)",
    "CREATE INDEX files_of_folder ON files (folder)",
    "CREATE INDEX files_of_series ON files (series_uid)",
    "CREATE TABLE volumes (id INTEGER PRIMARY KEY, series_uid TEXT, usable INTEGER, identity TEXT,"
    " facts TEXT, affine BLOB, slices BLOB)",
    "CREATE INDEX volumes_of_series ON volumes (series_uid)",
    "CREATE TABLE findings (series_uid TEXT, volume INTEGER, file INTEGER, code TEXT, message TEXT)",
    "CREATE INDEX findings_of_series ON findings (series_uid)",
    "CREATE TABLE stale (series_uid TEXT PRIMARY KEY)",
)

_PIXELS = struct.Struct("<qqq2s")
_UNDEFINED = -1

FileState = tuple[int, int, int]
"""Size, time of the last change in ns, inode: what tells a file from what it was."""

FileRow = tuple[Any, ...]
"""A row of the table `files`."""

_Open = Callable[[], AbstractContextManager[sqlite3.Connection]]

RECENT_FILES = 4096
"""Of so many files the headers are kept in memory, so that a small folder isn't read from its own index."""


class KnownFile(NamedTuple):
    """A file as the index knows it."""

    id: int
    series_uid: str | None
    state: FileState


class Store:
    """An index file.

    Parameters
    ----------
    path
        None: a temporary one, in memory as long as it is small, that goes with this object.

    Attributes
    ----------
    recent
        By file id the headers of some files that were read last.
    """

    def __init__(self, path: Path | None) -> None:
        self.recent: dict[int, Sequence[Header] | Finding] = {}
        self._writable: _Open
        self._readable: _Open
        if path is None:
            self._name = "in the temporary folder"
            connection = _temporary()
            weakref.finalize(self, connection.close)
            self._writable = self._readable = lambda: nullcontext(connection)
        else:
            self._name = str(path)
            self._writable, self._readable = partial(_alone, path), partial(_connected, path)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open the index as its only writer; a second one waits.

        Raises
        ------
        MachineError
            It can't be written, or the disk is full.
        """
        try:
            with self._writable() as connection:
                yield connection
                connection.commit()
        except (OSError, sqlite3.OperationalError) as error:
            message = f"The index {self._name} can't be written: {error}."
            raise MachineError(message) from error

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the index to read from, in any process or thread."""
        return self._readable()


@contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock"), closing(_opened(path)) as connection:
        yield connection


def _connected(path: Path) -> AbstractContextManager[sqlite3.Connection]:
    return closing(sqlite3.connect(path))


def _temporary() -> sqlite3.Connection:
    """Open an index of no name: SQLite spills it to a file that is gone with the connection.

    Any thread may use it, SQLite takes one at a time; a forked child may read from it.
    """
    connection = sqlite3.connect("", check_same_thread=False)
    for pragma in ("journal_mode = OFF", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    _make_tables(connection)
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _with_tables(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # damaged, and only a cache
        remove_database(path)
        return _with_tables(path)


def remove_database(path: Path) -> None:
    """Remove an index file with what SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").unlink()


def _with_tables(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def known_files(
    connection: sqlite3.Connection, folder: str, visit: int
) -> tuple[int, dict[bytes, KnownFile]]:
    """Return a folder's id and its files by name, and note that this visit has seen it."""
    path = os.fsencode(folder)
    row = connection.execute("SELECT id FROM folders WHERE path = ?", (path,)).fetchone()
    if row is None:
        added = connection.execute("INSERT INTO folders (path, visit) VALUES (?, ?)", (path, visit))
        return int(added.lastrowid or 0), {}
    connection.execute("UPDATE folders SET visit = ? WHERE id = ?", (visit, row[0]))
    found = connection.execute(
        "SELECT name, id, series_uid, size, changed_ns, inode FROM files WHERE folder = ?", row
    )
    return row[0], {one[0]: KnownFile(one[1], one[2], one[3:]) for one in found}


def next_visit(connection: sqlite3.Connection) -> int:
    """Return the number of a new look at all folders."""
    (last,) = connection.execute("SELECT max(visit) FROM folders").fetchone()
    return (last or 0) + 1


def next_file(connection: sqlite3.Connection) -> int:
    """Return an id that no file has had."""
    (last,) = connection.execute("SELECT max(id) FROM files").fetchone()
    return (last or 0) + 1


def number_of_files(connection: sqlite3.Connection) -> int:
    """Return how many files the index knows."""
    (files,) = connection.execute("SELECT count(*) FROM files").fetchone()
    return int(files)


def forget_files(connection: sqlite3.Connection, files: Iterable[KnownFile]) -> None:
    """Drop files that are gone or have changed; their series are to be looked at again."""
    for file in files:
        connection.execute("DELETE FROM files WHERE id = ?", (file.id,))
        connection.execute("INSERT OR IGNORE INTO stale VALUES (?)", (file.series_uid or "",))


def forget_unseen_folders(connection: sqlite3.Connection, visit: int) -> None:
    """Drop the folders that this visit hasn't seen, with their files."""
    gone = "(SELECT id FROM folders WHERE visit < ?)"
    connection.execute(
        f"INSERT OR IGNORE INTO stale SELECT ifnull(series_uid, '') FROM files WHERE folder IN {gone}",  # noqa: S608
        (visit,),
    )
    connection.execute(f"DELETE FROM files WHERE folder IN {gone}", (visit,))  # noqa: S608
    connection.execute("DELETE FROM folders WHERE visit < ?", (visit,))


def add_files(connection: sqlite3.Connection, rows: list[FileRow]) -> None:
    """Take in what was read of files; their series are to be looked at again."""
    connection.executemany(
        "INSERT INTO files (id, folder, name, size, changed_ns, inode, kind, detail, series_uid, syntax,"
        " has_preamble, pixels, elements, frames) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    stale = {(row[8],) for row in rows if row[8]}
    connection.executemany("INSERT OR IGNORE INTO stale VALUES (?)", stale)
    connection.commit()


def image_columns(parsed: ParsedFile) -> tuple[Any, ...]:
    """Write what was read of an image: the columns from `series_uid` on."""
    pixels = parsed.pixels
    packed = None
    if pixels:
        length = _UNDEFINED if pixels.length is None else pixels.length
        packed = _PIXELS.pack(pixels.offset, length, pixels.available, pixels.vr.encode("ascii", "replace"))
    elements = parsed.elements
    frames = b"".join(_with_length(to_bytes(frame)) for frame in parsed.frames) or None
    uid = elements.text("SeriesInstanceUID")
    return uid, parsed.transfer_syntax_uid, parsed.has_preamble, packed, to_bytes(elements), frames


def parsed_image(columns: tuple[Any, ...]) -> ParsedFile:
    """Read what :func:`image_columns` has written, from `syntax` on."""
    syntax, has_preamble, packed, elements, frames = columns
    pixels = None
    if packed is not None:
        offset, length, available, vr = _PIXELS.unpack(packed)
        stated = None if length == _UNDEFINED else length
        pixels = PixelElement(offset, stated, available, vr.strip(b"\0").decode("ascii"))
    parts = tuple(map(from_bytes, _parts(frames or b"")))
    return ParsedFile(from_bytes(elements), parts, syntax, pixels, bool(has_preamble))


def _with_length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content


def _parts(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "little")
        yield content[at + 4 : end]
        at = end


def _make_tables(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in found:
        connection.execute(f"DROP TABLE {name}")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.commit()
