"""Classes from a table: CSV with a column that says what a row is about, and those of its classes."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.wording import ALIKE, most_alike, nearest

By = Literal["patient_id", "study_uid", "series_uid", "file"]

Target = NDArray[np.float32]
"""Share of each class ``(classes,)``, 0 to 1; NaN: unknown."""

CELLS = {"1": 1.0, "yes": 1.0, "true": 1.0, "0": 0.0, "no": 0.0, "false": 0.0, "": float("nan")}
"""What a cell may say of a label; nothing in it: unknown."""


def read_classes(path: Path, by: By, column: str) -> dict[str, str]:
    """Read which class each patient, study, series or file belongs to.

    Parameters
    ----------
    path
        CSV with a head; other columns are passed over, and so are rows without a class.
    by
        The column that says what a row is about.
    column
        The column of the class.

    Raises
    ------
    ConfigError
        The file can't be read, lacks a column, or gives one thing two classes.
    """
    found: dict[str, str] = {}
    for number, key, (name,) in read_rows(path, f"The table of classes {path}", by, (column,)):
        # No id in the message: it may go into a log.
        if name and found.setdefault(key, name) != name:
            message = f"The table of classes {path} has two classes for one {by}: line {number}."
            raise ConfigError(message)
    if not found:
        message = f"The table of classes {path} names no class in its column {column}."
        raise ConfigError(message)
    return found


def read_targets(path: Path, by: By, columns: Sequence[str]) -> dict[str, Target]:
    """Read which of several labels hold for each patient, study, series or file.

    Parameters
    ----------
    path
        CSV with a head; other columns are passed over, and so are rows that say nothing.
    by
        The column that says what a row is about; what several rows say of one thing is joined.
    columns
        One a label, with the cells 1, yes, true or 0, no, false; an empty one is unknown.

    Raises
    ------
    ConfigError
        The file can't be read, lacks a column, has another cell, or says yes and no of one thing.
    """
    found: dict[str, Target] = {}
    for number, key, cells in read_rows(path, f"The table of classes {path}", by, columns):
        said = np.array(
            [_value(cell, path, number, name) for name, cell in zip(columns, cells, strict=True)]
        )
        if np.isnan(said).all():
            continue
        before = found.get(key, np.full(len(columns), np.nan, dtype=np.float32))
        both = ~np.isnan(said) & ~np.isnan(before)
        differing = [name for name, one in zip(columns, both & (said != before), strict=True) if one]
        if differing:
            message = (
                f"The table of classes {path} says yes and no of {', '.join(differing)} for one {by}: "
                f"line {number}."
            )
            raise ConfigError(message)
        found[key] = np.where(np.isnan(said), before, said).astype(np.float32)
    if not found:
        message = f"The table of classes {path} says nothing in its columns {', '.join(columns)}."
        raise ConfigError(message)
    return found


def _require_columns(head: Sequence[str], what: str, by: str, columns: Sequence[str]) -> None:
    """Refuse a table without a wanted column, and tell no other: its first row may hold an id, no head."""
    absent = [name for name in (by, *columns) if name not in head]
    if not (head and absent):
        return
    near = {name: nearest(name, head, ALIKE) for name in absent if name != by}
    told = [f"{name} (the nearest is {near[name]})" if near.get(name) else name for name in absent]
    message = f"{what} needs the columns {' and '.join((by, *columns))}; {', '.join(told)} is missing."
    raise ConfigError(message).beside(most_alike(absent[0], head))


def _value(cell: str, path: Path, number: int, column: str) -> float:
    value = CELLS.get(cell.lower())
    if value is None:
        message = (
            f"The table of classes {path} has something else than 1, 0, yes, no, true, false or nothing in "
            f"its column {column}: line {number}."
        )
        raise ConfigError(message)
    return value


def read_rows(
    path: Path, what: str, by: str, columns: Sequence[str]
) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the line, what it is about, and what it says, of every row; an empty one is passed over.

    Parameters
    ----------
    path
        CSV with a head.
    what
        Names the table in messages.
    by
        The column that says what a row is about.
    columns
        That are wanted; others are passed over.

    Raises
    ------
    ConfigError
        The file can't be read, has a wanted column twice, or a row lacks one, or says something and not of
        what.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            head = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{what} can't be read: {getattr(error, 'strerror', None) or error}."
        raise ConfigError(message) from error
    twice = [name for name in dict.fromkeys((by, *columns)) if head.count(name) > 1]
    if twice:
        message = f"{what} has the column {' and '.join(twice)} more than once: which of them counts?"
        raise ConfigError(message)
    _require_columns(head, what, by, columns)
    for number, row in rows:
        lacking = [name for name in (by, *columns) if row.get(name) is None]
        if lacking:
            message = (
                f"{what} needs the columns {' and '.join((by, *columns))}; "
                f"{', '.join(lacking)} is missing: line {number}."
            )
            raise ConfigError(message)
        key, cells = row[by].strip(), [row[name].strip() for name in columns]
        if not key and any(cells):
            message = f"{what}, line {number}: `{by}` is empty."
            raise ConfigError(message)
        if key:
            yield number, key, cells
