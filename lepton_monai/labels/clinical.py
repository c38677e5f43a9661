"""Clinical values from a table: numbers and categories of a patient, a study, a series or a file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lepton_monai.core.errors import ConfigError
from lepton_monai.labels.tables import By, read_rows


@dataclass(frozen=True)
class ClinicalColumns:
    """What is taken of a table.

    Parameters
    ----------
    by
        The column that says what a row is about.
    numbers, categories
        Columns of values, in the order in which a network is given them.
    """

    by: By
    numbers: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all values."""
        return (*self.numbers, *self.categories)


@dataclass(frozen=True)
class ClinicalRow:
    """What is known of one patient, study, series or file; what is missing isn't there.

    Parameters
    ----------
    numbers, categories
        By the name of their column.
    """

    numbers: Mapping[str, float]
    categories: Mapping[str, str]


def read_clinical(path: Path, columns: ClinicalColumns) -> dict[str, ClinicalRow]:
    """Read the clinical values, by what their rows are about.

    Parameters
    ----------
    path
        CSV with a head; other columns are passed over. An empty cell is a missing value.
    columns
        That are wanted.

    Raises
    ------
    ConfigError
        The file can't be read or has no row, lacks a column, has a row about nothing, a cell that is no
        number where one is wanted, or two rows that differ about one thing.
    """
    what = f"The table of clinical values {path}"
    found: dict[str, ClinicalRow] = {}
    for line, key, said in read_rows(path, what, columns.by, columns.names):
        cells = {name: cell for name, cell in zip(columns.names, said, strict=True) if cell}
        row = ClinicalRow(
            {name: _number(cells[name], what, line, name) for name in columns.numbers if name in cells},
            {name: cells[name] for name in columns.categories if name in cells},
        )
        # No id in the message: it may go into a log.
        if found.setdefault(key, row) != row:
            message = f"{what} has two rows that differ for one {columns.by}: line {line}."
            raise ConfigError(message)
    if not found:
        message = f"{what} has no row."
        raise ConfigError(message)
    return found


def _number(cell: str, what: str, line: int, name: str) -> float:
    """Read a number; the cell itself is never told: it may be a name that slipped in."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        message = (
            f"{what}, line {line}: `{name}` is no number. Leave it empty where it isn't known; the decimal "
            "sign is a point."
        )
        raise ConfigError(message)
    return value
