"""A mask in the formats that were asked for, by name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lepton_monai.core.errors import ObjectError
from lepton_monai.core.findings import Finding
from lepton_monai.dicom import Series
from lepton_monai.exports.dicom_object import Maker
from lepton_monai.exports.nifti import write_mask
from lepton_monai.exports.rtstruct import write_rtstruct
from lepton_monai.exports.seg import write_seg
from lepton_monai.exports.sr import write_sr
from lepton_monai.labels.labelset import Mask

FILES = {"nifti": "mask.nii.gz", "seg": "mask.seg.dcm", "rtstruct": "rtstruct.dcm", "sr": "report.sr.dcm"}
"""Name of each format's file in the folder of a case, in the order in which they are written."""

_WRITERS: dict[str, Callable[[Mask, Any, Maker, Path], None]] = {
    "nifti": lambda mask, _image, _maker, path: write_mask(mask, path),
    "seg": write_seg,
    "rtstruct": write_rtstruct,
    "sr": write_sr,
}


def write_formats(
    mask: Mask, image: Series | Path, maker: Maker, folder: Path, formats: Sequence[str]
) -> tuple[list[str], list[Finding]]:
    """Write a mask in each format.

    Parameters
    ----------
    mask
        On the grid of its image.
    image
        A DICOM series; of a NIfTI file no object can be written.
    maker
        The model.
    folder
        Of the case.
    formats
        Keys of `FILES`; of a NIfTI file `nifti` alone.

    Returns
    -------
    files, findings
        What was written, and `object_not_written` for what the image's header doesn't bear.
    """
    files: list[str] = []
    findings: list[Finding] = []
    for name in [one for one in FILES if one in formats]:
        try:
            _require_segments(name, files)
            _WRITERS[name](mask, image, maker, folder / FILES[name])
        except ObjectError as error:
            findings.append(Finding("object_not_written", str(error)))
        else:
            files.append(FILES[name])
    return files, findings


def _require_segments(name: str, files: Sequence[str]) -> None:
    if name == "sr" and FILES["seg"] not in files:
        message = "The SR can't be written: it refers to the SEG, which isn't there."
        raise ObjectError(message)
