"""A volume: values on a grid, with their unit."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid

Unit = Literal["HU", "SUVbw", "SUVlbm", "SUVbsa", "Bq/ml", "1"]


@dataclass(frozen=True, eq=False)
class Volume:
    """Values of one image series.

    Parameters
    ----------
    array
        ``(i, j, k)``, in Fortran order: slice after slice. float32, or the narrowest type that holds
        every value exactly where that was asked for.
    grid
        Where the voxels lie.
    unit
        Of the values.
    valid
        bool ``(i, j, k)``, False where the scanner measured nothing (padding); None: all valid.
    findings
        What was noted while it was read.
    """

    array: NDArray[Any]
    grid: Grid
    unit: Unit
    valid: NDArray[np.bool_] | None = None
    findings: tuple[Finding, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            message = f"An array of {self.array.shape} doesn't fit a grid of {self.grid.shape}."
            raise GeometryError(message)

    def __str__(self) -> str:
        """Return a line without voxels: MONAI writes it as the file name into its meta data."""
        return f"volume of {self.grid.shape} voxels in {self.unit}"
