"""Classes from a table: CSV with a column that says what a row is about, and one that says its class."""

import csv
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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"The table of classes {path} can't be read: {error}."
        raise ConfigError(message) from error
    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if row.get(by) is None or row.get(column) is None:
            message = f"The table of classes {path} needs the columns {by} and {column}: line {number}."
            raise ConfigError(message)
        name = row[column].strip()
        # No id in the message: it may go into a log.
        if name and found.setdefault(row[by].strip(), name) != name:
            message = f"The table of classes {path} has two classes for one {by}: line {number}."
            raise ConfigError(message)
    if not found:
        message = f"The table of classes {path} names no class in its column {column}."
        raise ConfigError(message)
    return found
