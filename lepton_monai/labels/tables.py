"""Classes from a table: CSV with a column that says what a row is about, and one that says its class."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from lepton_monai.core.errors import ConfigError

By = Literal["patient_id", "study_uid", "series_uid", "file"]


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
    what = f"The table of classes {path}"
    found: dict[str, str] = {}
    for number, row in read_rows(path, what, (by, column)):
        name = row[column]
        # No id in the message: it may go into a log.
        if name and found.setdefault(row[by], name) != name:
            message = f"{what} has two classes for one {by}: line {number}."
            raise ConfigError(message)
    if not found:
        message = f"{what} names no class in its column {column}."
        raise ConfigError(message)
    return found


def read_rows(path: Path, what: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the wanted columns of every row, without blanks around them, each with the number of its line.

    Parameters
    ----------
    path
        CSV with a head.
    what
        Names the table in messages.
    columns
        That are wanted; others are passed over.

    Raises
    ------
    ConfigError
        The file can't be read, or a row lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{what} can't be read: {error}."
        raise ConfigError(message) from error
    for number, row in enumerate(rows, start=2):
        lacking = [name for name in columns if row.get(name) is None]
        if lacking:
            wanted = ", ".join(columns[:-1]) + f" and {columns[-1]}"
            message = f"{what} needs the columns {wanted}: line {number} lacks {', '.join(lacking)}."
            raise ConfigError(message)
        yield number, {name: row[name].strip() for name in columns}
