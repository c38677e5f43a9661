"""Volumes as rows of the index, and back; their headers come when they are wanted."""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, overload

import numpy as np

from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.dicom.frames import headers_of
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.identity import Identity
from lepton_monai.dicom.series import RefusedSeries, Series, volumes_of
from lepton_monai.dicom.store import Store, parsed_image

_IMAGES = (
    "SELECT files.id, folders.path, name, syntax, has_preamble, pixels, elements, frames"
    " FROM files JOIN folders ON folder = folders.id WHERE kind = 'image' AND series_uid = ?"
)


class StoredHeaders(Sequence[Header]):
    """The headers of one volume, read from the index when one of them is wanted.

    Parameters
    ----------
    store
        The index.
    series_uid
        Of the series that the volume is made of.
    slices
        File and frame of each slice: pairs of int64.
    """

    def __init__(self, store: Store, series_uid: str, slices: bytes) -> None:
        self._store = store
        self._series_uid = series_uid
        self._slices = np.frombuffer(slices, dtype="<i8").reshape(-1, 2)
        self._headers: tuple[Header, ...] | None = None

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self._slices)

    @overload
    def __getitem__(self, at: int) -> Header: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Header]: ...
    def __getitem__(self, at: int | slice) -> Header | Sequence[Header]:
        """Return one header, or several."""
        return self._loaded()[at]

    def __iter__(self) -> Iterator[Header]:
        """Go through the headers."""
        return iter(self._loaded())

    def __eq__(self, other: object) -> bool:
        """Compare the headers."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Hash what the headers are read by."""
        return hash((self._series_uid, self._slices.tobytes()))

    def __reduce__(self) -> tuple[type, tuple[list[Header]]]:
        """Go into another process with all headers: the index may be gone by then."""
        return tuple, (list(self._loaded()),)

    def _loaded(self) -> tuple[Header, ...]:
        if self._headers is None:
            with self._store.reading() as connection:
                found, _ = _images_of(self._store, connection, self._series_uid)
            by_place = {(file, header.frame): header for file, header in found}
            self._headers = tuple(by_place[file, frame] for file, frame in self._slices.tolist())
        return self._headers


def make_volumes(store: Store, connection: sqlite3.Connection, series_uid: str) -> None:
    """Make the volumes of a series anew from its files' rows."""
    connection.execute("DELETE FROM volumes WHERE series_uid = ?", (series_uid,))
    connection.execute("DELETE FROM findings WHERE series_uid = ?", (series_uid,))
    images, unusable = _images_of(store, connection, series_uid)
    for file, finding in unusable:
        _add_finding(connection, finding, (series_uid, None, file))
    file_of = {id(header): file for file, header in images}
    usable, refused = volumes_of([header for _, header in images])
    for series in usable:
        usable_row = (series_uid, True, *_series_row(series), _slices(series.headers, file_of))
        _add_volume(connection, usable_row, series.findings, images)
    for one in refused:
        refused_row = (series_uid, False, *_refused_row(one), _slices(one.headers, file_of))
        _add_volume(connection, refused_row, [one.finding], images)


def _slices(headers: Sequence[Header], file_of: Mapping[int, int]) -> bytes:
    return np.array([(file_of[id(one)], one.frame) for one in headers], dtype="<i8").tobytes()


def _add_volume(
    connection: sqlite3.Connection,
    row: tuple[Any, ...],
    findings: Sequence[Finding],
    images: Sequence[tuple[int, Header]],
) -> None:
    added = connection.execute(
        "INSERT INTO volumes (series_uid, usable, identity, facts, affine, slices)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )
    for finding in findings:
        file = next(
            (file for file, header in images if finding.path and header.file == str(finding.path)), None
        )
        _add_finding(connection, finding, (row[0], added.lastrowid, file))


def read_volumes(store: Store) -> tuple[list[Series], list[RefusedSeries]]:
    """Return every volume, and what makes none, sorted by patient, study, series and part."""
    series: list[Series] = []
    refused: list[RefusedSeries] = []
    with store.reading() as connection:
        findings = _findings_by_volume(connection)
        rows = connection.execute(
            "SELECT id, series_uid, usable, identity, facts, affine, slices FROM volumes ORDER BY id"
        )
        for volume, uid, usable, identity, facts, affine, slices in rows:
            common = {
                **json.loads(facts),
                "identity": Identity(**json.loads(identity)),
                "headers": StoredHeaders(store, uid, slices),
            }
            if usable:
                series.append(_series(common, affine, findings[volume]))
            else:
                refused.append(RefusedSeries(**common, finding=findings[volume][0]))
    return sorted(series, key=_place), sorted(refused, key=_place)


_SEPARATOR = os.fsencode(os.sep)


def path_of(folder: bytes, name: bytes) -> Path:
    """Join what the index keeps of a path."""
    return Path(os.fsdecode(folder), os.fsdecode(name))


def _place(one: Series | RefusedSeries) -> tuple[str, str, str]:
    # Sorting is stable: the parts of a series stay in their order.
    return one.identity.patient_key, one.identity.study_uid, one.identity.series_uid


def _images_of(
    store: Store, connection: sqlite3.Connection, series_uid: str
) -> tuple[list[tuple[int, Header]], list[tuple[int, Finding]]]:
    """Return file id and header of every frame of a series, and what makes files no slices."""
    headers: list[tuple[int, Header]] = []
    findings: list[tuple[int, Finding]] = []
    ids = connection.execute("SELECT id FROM files WHERE kind = 'image' AND series_uid = ?", (series_uid,))
    files = [file for (file,) in ids]
    known = {file: store.recent[file] for file in files if file in store.recent}
    if len(known) < len(files):
        for file, folder, name, *columns in connection.execute(_IMAGES, (series_uid,)):
            path = os.fsdecode(folder + _SEPARATOR + name)
            known[file] = headers_of(parsed_image(tuple(columns)), path)
    for file, found in known.items():
        if isinstance(found, Finding):
            findings.append((file, found))
        else:
            headers += [(file, header) for header in found]
    return headers, findings


def _series_row(series: Series) -> tuple[str, str, bytes]:
    facts = {
        "modality": series.modality,
        "description": series.description,
        "shape": series.grid.shape,
        "unit": series.unit,
        "factor": series.factor,
        "part": series.part,
        "irregularity_mm": series.irregularity_mm,
        "shear_mm": series.shear_mm,
    }
    affine = series.grid.affine.astype("<f8").tobytes()
    return json.dumps(asdict(series.identity)), json.dumps(facts), affine


def _refused_row(refused: RefusedSeries) -> tuple[str, str, None]:
    return json.dumps(asdict(refused.identity)), json.dumps({"modality": refused.modality}), None


def _series(common: dict[str, Any], affine: bytes, findings: Sequence[Finding]) -> Series:
    shape = common.pop("shape")
    grid = Grid((shape[0], shape[1], shape[2]), np.frombuffer(affine, dtype="<f8").reshape(4, 4))
    return Series(**common, grid=grid, findings=tuple(findings))


def _add_finding(
    connection: sqlite3.Connection, finding: Finding, about: tuple[str, int | None, int | None]
) -> None:
    """Write a finding about a series, one of its volumes and one of its files."""
    row = (*about, finding.code, finding.message)
    connection.execute("INSERT INTO findings VALUES (?, ?, ?, ?, ?)", row)


def _findings_by_volume(connection: sqlite3.Connection) -> dict[int, list[Finding]]:
    findings: dict[int, list[Finding]] = defaultdict(list)
    rows = connection.execute(
        "SELECT volume, findings.series_uid, code, message, folders.path, name FROM findings"
        " LEFT JOIN files ON file = files.id LEFT JOIN folders ON folder = folders.id"
        " WHERE volume IS NOT NULL ORDER BY findings.rowid"
    )
    for volume, uid, code, message, folder, name in rows:
        path = path_of(folder, name) if name is not None else None
        findings[volume].append(Finding(code, message, uid, path))
    return findings
