"""Every error that a person is meant to read, drawn as one tree.

::

    LeptonError            1  a defect of ours, when nothing below fits
    ├── ConfigError        2  the config or the command line: all mistakes at once
    ├── OutputFolderError  2  the folder to write into is not ours
    ├── InputError         3  nothing usable in what was given
    │   ├── GeometryError     two things that don't lie on one grid, a grid that can't be
    │   ├── LabelError        a label object that can't be turned into a mask
    │   ├── ObjectError       a DICOM object that can't be written for its image
    │   ├── WeightsError      weights that can't be read, trusted or fitted to a network
    │   ├── FileRefused       a file that can't be used; carries its finding
    │   └── SeriesRefused     a series that is no volume; carries its finding
    ├── PartlyDoneError    4  some of the chosen work failed, the rest is complete
    ├── MachineError       5  disk, memory, device, lock
    │   ├── DeviceError       a device that is absent
    │   └── LockedError       another process holds the folder
    └── StoppedError     143  a signal came; 130 for an interrupt

The command line catches :class:`LeptonError` alone, prints the message and ends with `exit_code`.
"""

from collections.abc import Iterable
from typing import ClassVar, Self

from lepton_monai.core.findings import Finding


class LeptonError(Exception):
    """The root: a message for a person that says what, where and what to do."""

    exit_code: ClassVar[int] = 1

    names: tuple[str, ...] = ()
    """That stand in the data instead: free text, shown on a terminal alone and never kept."""

    def beside(self, names: Iterable[str]) -> Self:
        """Return the error with names that stand in the data."""
        self.names = tuple(names)
        return self


class ConfigError(LeptonError, ValueError):
    """The config or the command line holds mistakes; all of them are in the message."""

    exit_code = 2


class OutputFolderError(LeptonError, FileExistsError):
    """The folder to write into exists and was not made by this verb."""

    exit_code = 2


class InputError(LeptonError, ValueError):
    """Nothing usable was found in the input."""

    exit_code = 3


class GeometryError(InputError):
    """Positions, orientations or grids that can't be what they claim to be."""


class LabelError(InputError):
    """A label object that can't be turned into a mask on its image."""


class ObjectError(InputError):
    """A DICOM object that the header of its image doesn't bear."""


class WeightsError(InputError):
    """Weights that can't be read, that want to run code, or that fit nothing in the network."""


class FileRefused(InputError):  # noqa: N818 - reads as the sentence that it is
    """A file that can't be used.

    Parameters
    ----------
    finding
        Why.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.code}: {finding.sentence()}")
        self.finding = finding


class SeriesRefused(InputError):  # noqa: N818 - reads as the sentence that it is
    """A series that is no volume.

    Parameters
    ----------
    finding
        Why, with code, file and numbers.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.code}: {finding.sentence()}")
        self.finding = finding


class PartlyDoneError(LeptonError):
    """Some of the chosen work failed and is named; the rest is complete."""

    exit_code = 4


class MachineError(LeptonError, OSError):
    """The machine can't: disk, memory, device, lock."""

    exit_code = 5


class DeviceError(MachineError):
    """A device that was asked for is absent."""


class LockedError(MachineError):
    """Another process is at work in this folder."""


class StoppedError(LeptonError):
    """A signal came; what was done is kept.

    Parameters
    ----------
    message
        Where it stopped, and how to go on.
    signal_number
        Of the signal: the exit code is 128 more.
    """

    exit_code = 128

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number  # type: ignore[misc] # of this error, not of its class
