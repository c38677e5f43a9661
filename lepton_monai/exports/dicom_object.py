"""What all DICOM objects that we write share: who they are about, and what made them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from lepton_monai.core.errors import LeptonError, ObjectError
from lepton_monai.core.files import replacing
from lepton_monai.dicom import Series
from lepton_monai.dicom.dataset import foreign_file, read_whole
from lepton_monai.dicom.identity import is_uid
from lepton_monai.labels.codes import ClassCodes
from lepton_monai.labels.labelset import Mask

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

LONGEST_NAME = 64
"""Of the VR LO: PS3.5 section 6.2."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A mask that a model has made of a series.

    Parameters
    ----------
    mask
        On the grid of the series.
    series
        Its header gives patient, study and frame of reference.
    classes
        By id from 1.
    model_sha256
        Of the model's weights.
    version
        Of this software.
    codes
        What the classes are, by name, of those of which it was said.

    Raises
    ------
    GeometryError
        The mask lies on another grid.
    """

    mask: Mask
    series: Series
    classes: tuple[str, ...]
    model_sha256: str
    version: str
    codes: Mapping[str, ClassCodes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mask.grid.require_same(self.series.grid, "mask and series")

    @property
    def description(self) -> str:
        """Describe a series of objects, as far as a header has room for it."""
        return f"{MANUFACTURER}: {', '.join(self.classes)}"[:LONGEST_NAME]

    @property
    def serial_number(self) -> str:
        """Stand for the model where a device has its serial number."""
        return self.model_sha256[:16]

    def uid(self, what: str) -> UID:
        """Return the UID of something made of it: of the same mask, slices and model the same one again."""
        return generate_uid(entropy_srcs=[self._digest, self.model_sha256, self.version, what])

    @cached_property
    def _digest(self) -> str:
        # The parts of a split series share its UID, those of one file the instance's too.
        slices = [(one.identity.instance_uid, one.frame, one.tile) for one in self.series.headers]
        digest = hashlib.sha256(
            repr((self.series.uid, slices, self.classes, sorted(self.codes.items()))).encode("utf-8")
        )
        digest.update(np.asarray(self.mask.array, dtype=np.uint8).tobytes(order="F"))
        return digest.hexdigest()

    def require_identity(self, kind: str) -> None:
        """Refuse a series whose header lacks what an object refers to it by.

        Raises
        ------
        ObjectError
            With the keywords that are absent, or no UIDs.
        """
        identity = self.series.identity
        uids = {
            "StudyInstanceUID": [identity.study_uid],
            "FrameOfReferenceUID": [identity.frame_of_reference_uid],
            "SOPClassUID": [one.identity.class_uid for one in self.series.headers],
        }
        bad = [keyword for keyword, found in uids.items() if not all(map(is_uid, found))]
        if bad:
            message = f"The {kind} can't be written: {', '.join(bad)} of its image is absent or no UID."
            raise ObjectError(message)


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
def foreign_header(kind: str) -> Iterator[None]:
    """Turn what a foreign header makes pydicom or highdicom raise into a word for a person.

    Raises
    ------
    ObjectError
        The source lacks something that the object needs, or has it in a form that can't be.
    """
    try:
        with foreign_file():
            yield
    except (LeptonError, MemoryError):
        raise
    except Exception as error:  # the border: the source's header may hold anything
        reason = type(error).__name__  # its message may hold values of the header
        message = f"The {kind} can't be written: the header of its image doesn't bear it ({reason})."
        raise ObjectError(message) from error


def names_that_do_not_fit(classes: Sequence[str]) -> list[str]:
    """Return the names of classes that no header can hold: too long, or with a backslash or control."""
    return [name for name in classes if len(name) > LONGEST_NAME or "\\" in name or not name.isprintable()]


def save(made: Dataset, path: Path) -> None:
    """Write an object in UTF-8, whole or not at all."""
    made.SpecificCharacterSet = CHARACTER_SET
    with replacing(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)


def item(**values: Any) -> Dataset:
    """Make an item of a sequence."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made
