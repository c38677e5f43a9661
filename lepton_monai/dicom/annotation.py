"""Label objects: what an RTSTRUCT or a SEG refers to. Contours and frames are read when they are needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_monai.dicom.dataset import foreign_file, read_head
from lepton_monai.dicom.identity import Identity

LABEL_MODALITIES = frozenset({"RTSTRUCT", "SEG"})


@dataclass(frozen=True)
class Annotation:
    """A label object: RTSTRUCT or SEG.

    Parameters
    ----------
    path, modality, identity
        Of the object itself.
    referenced_series_uids, referenced_instance_uids
        Of the images that it was drawn on.
    region_names
        What every ROI or segment is called: its name, a segment by its number too.
    """

    path: Path
    modality: str
    identity: Identity
    referenced_series_uids: tuple[str, ...]
    referenced_instance_uids: frozenset[str]
    region_names: tuple[tuple[str, ...], ...]


def read_annotation(path: Path, modality: str, identity: Identity) -> Annotation:
    """Read what a label object refers to; the caller is a border.

    Raises
    ------
    Exception
        Whatever a foreign file makes pydicom raise.
    """
    with foreign_file():
        dataset = read_head(path)
        series, instances = _references(dataset)
        return Annotation(path, modality, identity, series, instances, _region_names(dataset))


def _references(dataset: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return series and instances: an RTSTRUCT nests them (PS3.3 C.8.8.5), a SEG does not (C.12.2)."""
    references = _items(dataset, "ReferencedSeriesSequence")
    for frame in _items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in _items(frame, "RTReferencedStudySequence"):
            references += _items(study, "RTReferencedSeriesSequence")
    series: list[str] = []
    instances: set[str] = set()
    for reference in references:
        series.append(_text(reference, "SeriesInstanceUID"))
        listed = [
            *_items(reference, "ContourImageSequence"),
            *_items(reference, "ReferencedInstanceSequence"),
        ]
        instances.update(_text(item, "ReferencedSOPInstanceUID") for item in listed)
    instances.update(
        _text(one, "ReferencedSOPInstanceUID") for one in _items(dataset, "SourceImageSequence")
    )
    return tuple(dict.fromkeys(series)), frozenset(instances)


def _instances(dataset: Any, keyword: str) -> set[str]:
    return {_text(item, "ReferencedSOPInstanceUID") for item in _items(dataset, keyword)}


def _region_names(dataset: Any) -> tuple[tuple[str, ...], ...]:
    rois = [(_text(roi, "ROIName"),) for roi in _items(dataset, "StructureSetROISequence")]
    segments = [
        (_text(segment, "SegmentLabel"), _text(segment, "SegmentNumber"))
        for segment in _items(dataset, "SegmentSequence")
    ]
    return (*rois, *segments)


def _items(dataset: Any, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        raise TypeError(keyword)
    return list(value)


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip(" \0")
