"""The JSON beside a converted image: names as in BIDS where it has them, and no identifying text."""

import math
from collections.abc import Mapping
from typing import Any

from lepton_monai import __version__
from lepton_monai.core.volume import Volume

_IN_SECONDS = 0.001

_NUMBERS: Mapping[str, tuple[str, float]] = {
    "MagneticFieldStrength": ("MagneticFieldStrength", 1.0),
    "EchoTime": ("EchoTime", _IN_SECONDS),
    "RepetitionTime": ("RepetitionTime", _IN_SECONDS),
    "InversionTime": ("InversionTime", _IN_SECONDS),
    "FlipAngle": ("FlipAngle", 1.0),
    "SliceThickness": ("SliceThickness", 1.0),
    "SpacingBetweenSlices": ("SpacingBetweenSlices", 1.0),
    "KVP": ("KVP", 1.0),
}
"""Name in BIDS (or, for CT, of the standard): keyword and factor. BIDS counts times in seconds."""

_NAMES = ("Modality", "Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "BodyPartExamined")
_BIDS_NAMES = {"ManufacturerModelName": "ManufacturersModelName"}
_CODES = ("ImageType", "ScanningSequence", "SequenceVariant")


def sidecar(volume: Volume, dataset: Any) -> dict[str, Any]:
    """Describe a volume.

    Parameters
    ----------
    volume
        As it is written.
    dataset
        pydicom's, of one of its slices.
    """
    content: dict[str, Any] = {}
    for keyword in _NAMES:
        text = str(dataset.get(keyword) or "").strip()
        if text:
            content[_BIDS_NAMES.get(keyword, keyword)] = text[:64]
    for keyword in _CODES:
        value = dataset.get(keyword)
        if value:
            content[keyword] = [value] if isinstance(value, str) else [str(one) for one in value]
    for name, (keyword, factor) in _NUMBERS.items():
        number = _number(dataset.get(keyword))
        if number is not None:
            content[name] = round(number * factor, 9)
    content["Units"] = volume.unit
    content["ConversionSoftware"] = "lepton_monai"
    content["ConversionSoftwareVersion"] = __version__
    content["Findings"] = [{"code": one.code, "message": one.message} for one in volume.findings]
    return content


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
