"""Who and what an object belongs to."""

import re
from dataclasses import dataclass

from lepton_monai.dicom.elements import Elements


@dataclass(frozen=True)
class Identity:
    """The values that never leave the package but as a pseudonym."""

    patient_id: str
    issuer: str
    study_uid: str
    series_uid: str
    instance_uid: str
    class_uid: str
    frame_of_reference_uid: str

    @property
    def patient_key(self) -> str:
        """PatientID with its issuer; the study where there is no id."""
        if not self.patient_id:
            return f"study {self.study_uid}"
        return f"{self.patient_id}\x1f{self.issuer}" if self.issuer else self.patient_id


def identity_of(elements: Elements) -> Identity:
    """Take an object's identity from its values."""
    return Identity(
        patient_id=elements.text("PatientID"),
        issuer=elements.text("IssuerOfPatientID"),
        study_uid=elements.text("StudyInstanceUID"),
        series_uid=elements.text("SeriesInstanceUID"),
        instance_uid=elements.text("SOPInstanceUID"),
        class_uid=elements.text("SOPClassUID"),
        frame_of_reference_uid=elements.text("FrameOfReferenceUID"),
    )


_UID = re.compile(r"[0-9]+(\.[0-9]+)*").fullmatch


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID by its form: PS3.5 section 9.1."""
    return len(text) <= 64 and _UID(text) is not None
