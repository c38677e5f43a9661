"""Classes and masks."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import ConfigError, GeometryError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.patterns import matches
from lepton_monai.core.wording import counted, most_alike

MOST_CLASSES = 255
"""Masks are uint8."""


@dataclass(frozen=True)
class LabelClass:
    """One class of a task.

    Parameters
    ----------
    name
        Of the class, as the config gives it.
    patterns
        Which labels belong to it: names with ``*`` and ``?``, case ignored; or numbers as text.
    """

    name: str
    patterns: tuple[str, ...]

    def matches(self, names: Iterable[str]) -> bool:
        """Tell whether a region with one of these names belongs to the class."""
        return any(matches(name, pattern) for name in names for pattern in self.patterns)


@dataclass(frozen=True)
class LabelSet:
    """The classes of a task; the id of a class is its place, from 1; 0 is the background.

    Raises
    ------
    ConfigError
        There are more classes than a mask has numbers.
    """

    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES:
            message = f"A mask holds at most {MOST_CLASSES} classes, these are {len(self.classes)}."
            raise ConfigError(message)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, by id from 1."""
        return tuple(one.name for one in self.classes)

    def matches(self, names: Iterable[str]) -> bool:
        """Tell whether a region with one of these names belongs to any class."""
        names = tuple(names)
        return any(one.matches(names) for one in self.classes)

    def most_alike(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return names of regions, those that a pattern may have meant first."""
        patterns = " ".join(pattern for one in self.classes for pattern in one.patterns)
        return tuple(most_alike(patterns, names))


@dataclass(frozen=True, eq=False)
class Region:
    """One labelled region as it was drawn: regions may overlap until a `LabelSet` orders them.

    Parameters
    ----------
    names
        What it is called in the label object: its name, and its number where that is one too.
    mask
        bool ``(i, j, k)``.
    """

    names: tuple[str, ...]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """Class ids on a grid.

    Parameters
    ----------
    array
        uint8 ``(i, j, k)``: 0 is the background, `n` the n-th class of the label set.
    grid
        Where the voxels lie.
    findings
        What was noted while it was made.
    """

    array: NDArray[np.uint8]
    grid: Grid
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            message = f"A mask of {self.array.shape} doesn't fit a grid of {self.grid.shape}."
            raise GeometryError(message)

    def __str__(self) -> str:
        """Return a line without voxels: MONAI writes it as the file name into its meta data."""
        return f"mask of {self.grid.shape} voxels"


@dataclass(frozen=True, eq=False)
class Regions:
    """All regions of one label object on the grid of its image.

    Parameters
    ----------
    unread
        Names of what else the object holds, which no class wants.
    """

    regions: tuple[Region, ...]
    grid: Grid
    findings: tuple[Finding, ...] = ()
    unread: tuple[str, ...] = ()


def merge(drawn: Regions, labels: LabelSet) -> Mask:
    """Turn regions into one mask; where they overlap, the class that is named first wins.

    Parameters
    ----------
    drawn
        Regions by the names of their label object.
    labels
        Which of them belong to which class.

    Returns
    -------
    mask : Mask
        With `label_absent` for a class that no region belongs to, `label_empty` for one without a
        voxel, `labels_overlap` where two classes met.
    """
    array = np.zeros(drawn.grid.shape, dtype=np.uint8, order="F")
    findings = list(drawn.findings)
    contested = np.zeros(drawn.grid.shape, dtype=np.bool_, order="F")
    for class_id in range(len(labels.classes), 0, -1):
        one = labels.classes[class_id - 1]
        found = [region.mask for region in drawn.regions if one.matches(region.names)]
        if not found:
            message = f"No label matches {' or '.join(one.patterns)} for the class {one.name}."
            there = (*(region.names[0] for region in drawn.regions), *drawn.unread)
            findings.append(Finding("label_absent", message, names=labels.most_alike(there)))
            continue
        mask = reduce(np.logical_or, found)
        if not mask.any():
            findings.append(Finding("label_empty", f"The label for {one.name} has no voxel."))
        contested |= mask & (array > 0)
        array[mask] = class_id
    if contested.any():
        message = f"{counted(int(np.count_nonzero(contested)), 'voxel')} in more than one class."
        findings.append(Finding("labels_overlap", message))
    return Mask(array, drawn.grid, tuple(findings))
