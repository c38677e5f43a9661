"""The JSON beside a converted image: names as in BIDS where it has them, and no identifying text."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_monai.core.volume import Volume
from lepton_monai.dicom.dataset import value_of
from lepton_monai.dicom.header import Header

_NUMBERS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "MagneticFieldStrength": (("MagneticFieldStrength",), 1.0),
    "EchoTime": (("EchoTime", "EffectiveEchoTime"), 0.001),
    "RepetitionTime": (("RepetitionTime",), 0.001),
    "InversionTime": (("InversionTime",), 0.001),
    "FlipAngle": (("FlipAngle",), 1.0),
    "EchoTrainLength": (("EchoTrainLength",), 1.0),
    "PixelBandwidth": (("PixelBandwidth",), 1.0),
    "SliceThickness": (("SliceThickness",), 1.0),
    "SpacingBetweenSlices": (("SpacingBetweenSlices",), 1.0),
    "KVP": (("KVP",), 1.0),
    "FrameDuration": (("ActualFrameDuration",), 0.001),
    "InjectedRadioactivity": (("RadionuclideTotalDose",), 1.0),
}
"""Name in BIDS (or of the standard): keywords, the first one counts, and factor. BIDS has seconds."""

_NAMES: Mapping[str, str] = {
    "Modality": "Modality",
    "Manufacturer": "Manufacturer",
    "ManufacturersModelName": "ManufacturerModelName",
    "ConvolutionKernel": "ConvolutionKernel",
    "BodyPart": "BodyPartExamined",
    "MRAcquisitionType": "MRAcquisitionType",
    "TracerName": "Radiopharmaceutical",
}
_CODES = ("ImageType", "ScanningSequence", "SequenceVariant", "ScanOptions")

_IDENTIFYING = ("PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "AccessionNumber")


@dataclass(frozen=True)
class Origin:
    """Where a converted image comes from.

    Parameters
    ----------
    dataset
        pydicom's, of the first slice.
    headers
        The first slice of each volume along the fourth axis; of the only one where there is none.
    series
        Pseudonym of the whole series.
    part
        Which part of the series it is: "2 of 4"; empty: all.
    valid_mask
        Name of the file that says which voxels were measured; empty: all were.
    version
        Of this software.
    """

    dataset: Any
    headers: Sequence[Header]
    series: str
    part: str = ""
    valid_mask: str = ""
    version: str = ""


def sidecar(volume: Volume, origin: Origin) -> dict[str, Any]:
    """Describe an image.

    Parameters
    ----------
    volume
        As it is written, with the findings of all volumes.
    origin
        A value of its header that can't be read is left out.
    """
    places = list(_places(origin.dataset))
    content: dict[str, Any] = {}
    private = _identifying_words(origin.dataset)
    for name, keyword in _NAMES.items():
        text = str(_first(places, (keyword,)) or "").strip()[:64]
        if text and not private & _words(text):
            content[name] = text
    for keyword in _CODES:
        value = _first(places, (keyword,)) or []
        codes = [value] if isinstance(value, str) else [str(one) for one in value]
        if codes and not private & _words(" ".join(codes)):
            content[keyword] = codes
    for name, (keywords, factor) in _NUMBERS.items():
        number = _number(_first(places, keywords))
        if number is not None:
            content[name] = round(number * factor, 9)
    if "InjectedRadioactivity" in content:
        content["InjectedRadioactivityUnits"] = "Bq"
    content["Units"] = volume.unit
    content["Series"] = origin.series
    if origin.part:
        content["Part"] = origin.part
    content["Volumes"] = [_told_by(header, private) for header in origin.headers]
    if origin.valid_mask:
        content["ValidMask"] = origin.valid_mask
    content["Findings"] = [{"code": one.code, "message": one.sentence()} for one in volume.findings]
    content["ConversionSoftware"] = "lepton_monai"
    content["ConversionSoftwareVersion"] = origin.version
    return content


def _told_by(header: Header, private: frozenset[str]) -> dict[str, Any]:
    """Return what can tell one volume of a series from another; the direction is in LPS."""
    facts = header.acquisition
    is_private = bool(private & _words(facts.stack_id))  # the one free text among them
    found = {
        "EchoTime": None if facts.echo[0] is None else round(facts.echo[0] * 0.001, 9),
        "DiffusionBValue": facts.b_value[0],
        "DiffusionGradientOrientation": facts.b_value[1],
        "TemporalPosition": facts.temporal_position,
        "TriggerTime": None if facts.trigger_time_ms is None else round(facts.trigger_time_ms * 0.001, 9),
        "AcquisitionNumber": facts.acquisition_number,
        "StackID": None if is_private else facts.stack_id or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _places(dataset: Any) -> Iterator[Any]:
    """Yield the data sets that speak of all slices: the whole, its tracer, its shared functional groups."""
    yield dataset
    yield from _items(dataset, "RadiopharmaceuticalInformationSequence")[:1]
    for group in _items(dataset, "SharedFunctionalGroupsSequence")[:1]:
        for element in group:
            if element.VR == "SQ":
                yield from element.value


def _items(dataset: Any, keyword: str) -> list[Any]:
    return list(value_of(dataset, keyword) or [])


def _first(places: Sequence[Any], keywords: Sequence[str]) -> Any:
    for keyword in keywords:
        for place in places:
            value = value_of(place, keyword)
            if value is not None and value != "":
                return value
    return None


def _identifying_words(dataset: Any) -> frozenset[str]:
    """Return the words of names and numbers: somebody may have typed them into a field for a device."""
    return frozenset().union(*(_words(str(value_of(dataset, keyword) or "")) for keyword in _IDENTIFYING))


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in re.split(r"\W+|_", text.casefold()) if len(word) > 2)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
