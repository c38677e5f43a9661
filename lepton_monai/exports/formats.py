"""A prediction in the formats that were asked for, by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lepton_monai.core.errors import ObjectError
from lepton_monai.core.findings import Finding
from lepton_monai.exports.dicom_object import Prediction
from lepton_monai.exports.rtstruct import write_rtstruct
from lepton_monai.exports.seg import write_seg
from lepton_monai.exports.sr import write_sr

NIFTI = "nifti"

FILES = {NIFTI: "mask.nii.gz", "seg": "mask.seg.dcm", "rtstruct": "rtstruct.dcm", "sr": "report.sr.dcm"}
"""Name of each format's file in the folder of a case, in the order in which they are written."""

_OBJECTS: dict[str, Callable[[Prediction, Path], None]] = {
    "seg": write_seg,
    "rtstruct": write_rtstruct,
    "sr": write_sr,
}


def write_objects(
    prediction: Prediction, folder: Path, formats: Sequence[str]
) -> tuple[list[str], list[Finding]]:
    """Write a prediction as DICOM objects.

    Parameters
    ----------
    prediction
        Of a DICOM series.
    folder
        Of the case.
    formats
        Keys of `FILES`; `nifti` is no object and is passed over.

    Returns
    -------
    written, findings
        The formats that were written, and `object_not_written` for what the image's header doesn't bear.
    """
    written: list[str] = []
    findings: list[Finding] = []
    for name in [one for one in _OBJECTS if one in formats]:
        try:
            _require_segments(name, written)
            _OBJECTS[name](prediction, folder / FILES[name])
        except ObjectError as error:
            findings.append(Finding("object_not_written", str(error)))
        else:
            written.append(name)
    return written, findings


def _require_segments(name: str, written: Sequence[str]) -> None:
    if name == "sr" and "seg" not in written:
        message = "The SR can't be written: it refers to the SEG, which isn't there."
        raise ObjectError(message)
