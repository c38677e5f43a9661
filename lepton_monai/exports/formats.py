"""A mask in the formats that were asked for, by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lepton_monai.core.errors import ObjectError
from lepton_monai.core.findings import Finding
from lepton_monai.dicom import Series
from lepton_monai.exports.dicom_object import Maker
from lepton_monai.exports.nifti import write_mask
from lepton_monai.exports.rtstruct import write_rtstruct
from lepton_monai.exports.seg import write_seg
from lepton_monai.labels.labelset import Mask

FILES = {"nifti": "mask.nii.gz", "seg": "mask.seg.dcm", "rtstruct": "rtstruct.dcm"}
"""Name of each format's file in the folder of a case."""

_OBJECTS: dict[str, Callable[[Mask, Series, Maker, Path], None]] = {
    "seg": write_seg,
    "rtstruct": write_rtstruct,
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
        A DICOM series; a NIfTI file bears NIfTI alone.
    maker
        The model.
    folder
        Of the case.
    formats
        Keys of `FILES`.

    Returns
    -------
    files, findings
        What was written, and `object_not_written` for what the image's header doesn't bear.
    """
    files: list[str] = []
    findings: list[Finding] = []
    for name in formats:
        path = folder / FILES[name]
        try:
            if isinstance(image, Series) and name in _OBJECTS:
                _OBJECTS[name](mask, image, maker, path)
            else:
                write_mask(mask, path)
        except ObjectError as error:
            findings.append(Finding("object_not_written", str(error)))
        else:
            files.append(path.name)
    return files, findings
