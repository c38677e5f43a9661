"""What all DICOM objects that we write share: who they are about, and what made them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID, generate_uid

from lepton_monai import __version__
from lepton_monai.core.errors import LeptonError, ObjectError
from lepton_monai.dicom import Series
from lepton_monai.dicom.dataset import foreign_file, read_whole

MANUFACTURER = "lepton_monai"

SERIES_NUMBER = {"SEG": 9101, "RTSTRUCT": 9102, "SR": 9103}
"""Far above those of a scanner, so that viewers list what was computed last."""


REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Of patient and study, which every object has, if only empty: PS3.3 C.7.1.1 and C.7.2.1, type 2."""


CHARACTER_SET = "ISO_IR 192"
"""UTF-8: the name of a class may be in another script than the patient's."""


@dataclass(frozen=True)
class Maker:
    """The model that made a mask.

    Parameters
    ----------
    model_sha256
        Of its weights.
    classes
        By id from 1.
    """

    model_sha256: str
    classes: tuple[str, ...]

    @property
    def serial_number(self) -> str:
        """Stand for the model where a device has its serial number."""
        return self.model_sha256[:16]

    @property
    def device_uid(self) -> UID:
        """Stand for the model where a device has a UID."""
        return generate_uid(entropy_srcs=[self.model_sha256, __version__])

    def uid(self, series: Series, what: str) -> UID:
        """Return the UID of something made of a series: the same model gives the same one again."""
        first = series.headers[0].identity.instance_uid  # the parts of a series share its UID
        return generate_uid(entropy_srcs=[series.uid, first, self.model_sha256, __version__, what])


def source_image(path: Path) -> Any:
    """Read an image without its pixels; what it must have, if only empty, is there for highdicom.

    Raises
    ------
    Exception
        Whatever a foreign file makes pydicom raise.
    """
    dataset = read_whole(path)
    if "PixelData" in dataset:
        del dataset.PixelData
    for keyword in REQUIRED:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    return dataset


@contextmanager
def writing(kind: str) -> Iterator[None]:
    """Turn whatever a foreign header makes the writer of an object raise into a word for a person.

    Raises
    ------
    ObjectError
        The source lacks something that the object needs, or has it in a form that can't be.
    """
    try:
        with foreign_file():
            yield
    except LeptonError:
        raise
    except Exception as error:  # the border: the source's header may hold anything
        message = f"The {kind} can't be written: the header of its image doesn't bear it ({_told(error)})."
        raise ObjectError(message) from error


def _told(error: Exception) -> str:
    """Name an error without its message, which may hold values of the header."""
    return type(error).__name__
